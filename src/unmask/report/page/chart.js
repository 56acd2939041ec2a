// Line charts. A chart is described by
//   { title, note, size, height, x: 'clock' | 'ratio', xName, lines: () => [line], format, tick,
//     logY, zero: begins at 0, leastSpan: least height of the y axis, relative to its top }
// and a line by
//   { run, column, x: [], y: [], low: [], high: [], width, opacity, dots, points: no curve }.
// All charts over the clock share one x range, one cursor and one zoom (`view`, report.js).

const svgSpace = 'http://www.w3.org/2000/svg';

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === 'class') node.className = value;
    else if (name === 'style') node.style.cssText = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function shape(tag, attributes, parent) {
  const node = document.createElementNS(svgSpace, tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (parent) parent.append(node);
  return node;
}

const tooltip = element('div', { class: 'tooltip', hidden: true });

function showTooltip(content, x, y) {
  tooltip.replaceChildren(content);
  tooltip.hidden = false;
  const { width, height } = tooltip.getBoundingClientRect();
  const left = x + 16 + width > innerWidth - 8 ? x - 16 - width : x + 16;
  const top = Math.min(Math.max(8, y - height / 2), innerHeight - height - 8);
  tooltip.style.transform = `translate(${Math.round(Math.max(8, left))}px, ${Math.round(top)}px)`;
}
const hideTooltip = () => { tooltip.hidden = true; };

class Chart {
  constructor(spec) {
    this.spec = spec;
    this.plot = element('div', { class: 'plot' });
    this.node = element('figure', { class: 'card ' + (spec.size || 'half') },
      element('figcaption', null, element('h3', null, spec.title), spec.note ? element('span', { class: 'note' }, spec.note) : null),
      this.plot);
    this.id = 'clip' + Chart.count++;
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  get sharesClock() { return this.spec.x !== 'ratio'; }

  // Lines of the runs in sight, within the zoom.
  collect() {
    return this.spec.lines().filter((line) => line.x.length && !view.hidden.has(line.run) && line.y.some(isNumber));
  }

  domainX(lines) {
    if (!this.sharesClock) return [0, 1];
    let low = Infinity;
    let high = -Infinity;
    for (const line of lines) {
      const first = view.logX ? line.x.find((x) => x > 0) : line.x[0];
      if (first === undefined) continue;
      low = Math.min(low, first);
      high = Math.max(high, line.x[line.x.length - 1]);
    }
    if (!view.logX && low <= high * 0.02) low = 0;
    if (view.zoom) [low, high] = view.zoom;
    return low < high ? [low, high] : [low - 0.5, high + 0.5];
  }

  domainY(lines, [left, right], log) {
    let low = Infinity;
    let high = -Infinity;
    for (const line of lines) {
      for (let i = 0; i < line.x.length; i += 1) {
        if (line.x[i] < left || line.x[i] > right) continue;
        for (const value of [line.y[i], line.low && line.low[i], line.high && line.high[i]]) {
          if (!isNumber(value) || (log && value <= 0)) continue;
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      }
    }
    if (low > high) return [log ? 0.1 : 0, 1];
    if (this.spec.zero && !log) return [Math.min(0, low), high > 0 ? high * 1.08 : 1];
    if (low === high) return log ? [low / 2, high * 2] : [low - (Math.abs(low) * 0.1 || 0.5), high + (Math.abs(high) * 0.1 || 0.5)];
    // Noise in a number that hardly changes shall look small.
    const least = this.spec.leastSpan || 0;
    if (!log && high - low < least * high) {
      const middle = (low + high) / 2;
      return [middle - (least * high) / 2, middle + (least * high) / 2];
    }
    const margin = 0.05;
    if (log) return [low * (low / high) ** margin, high * (high / low) ** margin];
    return [low - (high - low) * margin, high + (high - low) * margin];
  }

  draw() {
    const width = this.plot.clientWidth;
    if (width < 40) return;
    const height = this.spec.height || 220;
    const lines = this.collect();
    const logX = this.sharesClock && view.logX;
    const logY = typeof this.spec.logY === 'function' ? this.spec.logY() : Boolean(this.spec.logY);
    const domainX = this.domainX(lines);
    const domainY = this.domainY(lines, domainX, logY);
    const tickCountY = Math.max(2, Math.round(height / 52));
    const { ticks: ticksY, step: stepY } = logY ? logTicks(...domainY, tickCountY) : linearTicks(...domainY, tickCountY);
    const labelsY = ticksY.map((tick) => (this.spec.tick || formatTick)(tick, stepY));
    const left = Math.max(26, ...labelsY.map((label) => label.length * 6.6 + 10));
    const area = { left, right: width - 10, top: 8, bottom: height - 34 };
    const x = makeScale(...domainX, area.left, area.right, logX);
    const y = makeScale(...domainY, area.bottom, area.top, logY);

    const svg = shape('svg', { viewBox: `0 0 ${width} ${height}`, height, role: 'img', tabindex: 0, 'aria-label': this.describe(lines) });
    const clip = shape('clipPath', { id: this.id }, shape('defs', {}, svg));
    shape('rect', { x: area.left - 3, y: area.top - 4, width: area.right - area.left + 8, height: area.bottom - area.top + 8 }, clip);

    ticksY.forEach((tick, i) => {
      const at = Math.round(y.at(tick)) + 0.5;
      shape('line', { class: 'grid-line', x1: area.left, x2: area.right, y1: at, y2: at }, svg);
      shape('text', { class: 'tick', x: area.left - 7, y: at + 3.5, 'text-anchor': 'end' }, svg).textContent = labelsY[i];
    });
    const time = this.sharesClock && view.axis === 'seconds';
    const tickCountX = Math.max(2, Math.floor((area.right - area.left) / 84));
    const { ticks: ticksX, step: stepX } = logX ? logTicks(...domainX, tickCountX) : linearTicks(...domainX, tickCountX, time);
    shape('line', { class: 'axis-line', x1: area.left, x2: area.right, y1: area.bottom + 0.5, y2: area.bottom + 0.5 }, svg);
    for (const tick of ticksX) {
      const atEdge = width - x.at(tick) < 22;
      const text = shape('text', { class: 'tick', x: atEdge ? area.right + 8 : x.at(tick), y: area.bottom + 16, 'text-anchor': atEdge ? 'end' : 'middle' }, svg);
      text.textContent = !this.sharesClock ? Math.round(tick * 100) + ' %' : time ? formatTimeTick(tick) : formatTick(tick, stepX);
      shape('line', { class: 'axis-line', x1: Math.round(x.at(tick)) + 0.5, x2: Math.round(x.at(tick)) + 0.5, y1: area.bottom, y2: area.bottom + 4 }, svg);
    }
    shape('text', { class: 'axis-name', x: area.right, y: height - 4, 'text-anchor': 'end' }, svg).textContent =
      this.sharesClock ? axisNames[view.axis] : this.spec.xName;

    const curves = shape('g', { 'clip-path': `url(#${this.id})` }, svg);
    for (const line of lines) this.drawLine(line, x, y, curves);
    this.brush = shape('rect', { class: 'brush', y: area.top, height: area.bottom - area.top, width: 0 }, svg);
    this.overlay = shape('g', {}, svg);
    this.state = { svg, lines, x, y, area, height };
    this.plot.replaceChildren(svg);
    if (!lines.length) this.plot.append(element('div', { class: 'empty' }, 'nothing recorded'));
    this.listen(svg);
    this.dim();
  }

  drawLine(line, x, y, parent) {
    const group = shape('g', { class: 'line', 'data-run': line.run }, parent);
    const color = runColor(line.run);
    const visible = (value) => isNumber(value) && (!y.log || value > 0);
    const from = (i) => isNumber(line.x[i]) && (!x.log || line.x[i] > 0);
    if (line.low) {
      const upper = [];
      const lower = [];
      for (let i = 0; i < line.x.length; i += 1) {
        if (!from(i) || !visible(line.low[i]) || !visible(line.high[i])) continue;
        upper.push(`${x.at(line.x[i]).toFixed(1)} ${y.at(line.high[i]).toFixed(1)}`);
        lower.push(`${x.at(line.x[i]).toFixed(1)} ${y.at(line.low[i]).toFixed(1)}`);
      }
      if (upper.length > 1) shape('path', { class: 'band', d: 'M' + upper.concat(lower.reverse()).join('L') + 'Z', fill: color, 'fill-opacity': 0.1 }, group);
    }
    let path = '';
    let pen = 'M';
    let last = null;
    for (let i = 0; i < line.x.length; i += 1) {
      if (!from(i) || !visible(line.y[i])) { pen = 'M'; continue; }
      path += `${pen}${x.at(line.x[i]).toFixed(1)} ${y.at(line.y[i]).toFixed(1)}`;
      pen = 'L';
      last = i;
    }
    shape('path', { class: 'curve', d: path, stroke: color, 'stroke-width': line.width || 1.75, 'stroke-opacity': line.opacity || 1, 'stroke-dasharray': line.points ? '0 1e6' : runDash(line.run) }, group);
    const inside = line.x.filter((value) => value >= x.low && value <= x.high).length;
    if (line.points || (line.dots && inside <= (x.at(x.high) - x.at(x.low)) / 9)) {
      for (let i = 0; i < line.x.length; i += 1) {
        if (from(i) && visible(line.y[i])) shape('circle', { cx: x.at(line.x[i]), cy: y.at(line.y[i]), r: line.points ? 3.5 : 2.4, fill: color }, group);
      }
    } else if (last !== null && line.dots) {
      shape('circle', { cx: x.at(line.x[last]), cy: y.at(line.y[last]), r: 3, fill: color }, group);
    }
  }

  describe(lines) {
    const ends = lines.map((line) => `${runs[line.run].name}${line.column ? ' ' + line.column : ''} ends at ${this.spec.format([...line.y].reverse().find(isNumber))}`);
    return this.spec.title + (ends.length ? ': ' + ends.join(', ') : '');
  }

  dim() {
    for (const group of this.plot.querySelectorAll('.line')) {
      group.classList.toggle('dim', view.highlight !== null && view.highlight !== Number(group.dataset.run));
    }
  }

  listen(svg) {
    const position = (event) => {
      const box = svg.getBoundingClientRect();
      return Math.min(Math.max(event.clientX - box.left, this.state.area.left), this.state.area.right);
    };
    let pressedAt = null;
    svg.addEventListener('pointerdown', (event) => {
      if (event.button === 0 && event.pointerType === 'mouse' && this.sharesClock) {
        pressedAt = position(event);
        svg.setPointerCapture(event.pointerId);
      }
      this.point(this.state.x.invert(position(event)), event);
    });
    svg.addEventListener('pointermove', (event) => {
      if (pressedAt !== null) {
        const at = position(event);
        this.brush.setAttribute('x', Math.min(pressedAt, at));
        this.brush.setAttribute('width', Math.abs(at - pressedAt));
      }
      this.point(this.state.x.invert(position(event)), event);
    });
    svg.addEventListener('pointerup', (event) => {
      const from = pressedAt;
      pressedAt = null;
      if (from === null) return;
      const to = position(event);
      this.brush.setAttribute('width', 0);
      if (Math.abs(to - from) > 6) {
        const ends = [this.state.x.invert(from), this.state.x.invert(to)].sort((a, b) => a - b);
        hideTooltip();
        change({ zoom: ends });
      }
    });
    svg.addEventListener('pointerleave', () => { if (pressedAt === null) this.leave(); });
    svg.addEventListener('blur', () => this.leave());
    svg.addEventListener('dblclick', () => change({ zoom: null }));
    svg.addEventListener('keydown', (event) => {
      const { x, area } = this.state;
      if (event.key === 'Escape') { this.leave(); change({ zoom: null }); return; }
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      event.preventDefault();
      const now = this.cursor === undefined || this.cursor === null ? (area.left + area.right) / 2 : x.at(this.cursor);
      const pixel = Math.min(Math.max(now + (way * (area.right - area.left)) / 60, area.left), area.right);
      const box = svg.getBoundingClientRect();
      this.point(x.invert(pixel), { clientX: box.left + pixel, clientY: box.top + box.height / 2 });
    });
  }

  leave() {
    hideTooltip();
    for (const chart of charts) chart.mark(null);
  }

  // The cursor stands at x here and in every chart that shares the axis.
  point(at, event) {
    for (const chart of charts) {
      if (chart !== this) chart.mark(this.sharesClock && chart.sharesClock ? at : null);
    }
    const found = this.mark(at);
    if (!found.length) { hideTooltip(); return; }
    showTooltip(this.tooltipContent(at, found), event.clientX, event.clientY);
  }

  mark(at) {
    this.cursor = at;
    if (!this.state) return [];
    const { lines, x, y, area } = this.state;
    this.overlay.replaceChildren();
    if (at === null || at < x.low * (1 - 1e-9) || at > x.high * (1 + 1e-9)) return [];
    const pixel = x.at(at);
    shape('line', { class: 'cross', x1: pixel, x2: pixel, y1: area.top, y2: area.bottom }, this.overlay);
    const found = [];
    for (const line of lines) {
      const i = nearest(line.x, at);
      if (!isNumber(line.y[i]) || (y.log && line.y[i] <= 0)) continue;
      const reach = Math.max(28, (area.right - area.left) / 20);
      if (Math.abs(x.at(line.x[i]) - pixel) > reach && (i === 0 || i === line.x.length - 1)) continue;
      found.push({ line, value: line.y[i], x: line.x[i] });
      const cx = x.at(line.x[i]);
      const cy = y.at(line.y[i]);
      if (cx >= area.left - 3 && cx <= area.right + 3 && cy >= area.top - 4 && cy <= area.bottom + 4) {
        shape('circle', { class: 'dot', cx, cy, r: 4, fill: runColor(line.run) }, this.overlay);
      }
    }
    return found;
  }

  tooltipContent(at, found) {
    const columns = [...new Set(found.map(({ line }) => line.column || ''))];
    const byRun = new Map();
    for (const { line, value } of found) {
      if (!byRun.has(line.run)) byRun.set(line.run, {});
      byRun.get(line.run)[line.column || ''] = value;
    }
    const rows = [...byRun].sort((a, b) => (b[1][columns[0]] ?? -Infinity) - (a[1][columns[0]] ?? -Infinity));
    const table = element('table');
    if (columns.length > 1 || columns[0]) {
      table.append(element('tr', null, element('th'), ...columns.map((column) => element('th', null, column))));
    }
    for (const [run, values] of rows) {
      table.append(element('tr', null,
        element('td', null, runKey(run), runs[run].name),
        ...columns.map((column) => element('td', null, column in values ? this.spec.format(values[column]) : ''))));
    }
    return element('div', null, element('b', null, this.sharesClock ? formatClock(at) : `${Math.round(at * 100)} % masked`), table);
  }
}
Chart.count = 0;
