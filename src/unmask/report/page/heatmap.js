// Expert loads, layer by expert, as colours around the fair share.

// The inverse of append_load in page_data.cpp: two characters to a load relative to the fair share.
function decodeLoads(text) {
  const digit = (i) => {
    const character = text[i];
    return (character === 'p' ? '\\' : character === 'q' ? '<' : character).charCodeAt(0) - 48;
  };
  const loads = new Float32Array(text.length / 2);
  for (let i = 0; i < loads.length; i += 1) {
    const root = (digit(2 * i) * 64 + digit(2 * i + 1)) / 512;
    loads[i] = root * root;
  }
  return loads;
}

// From a quarter of the fair share (blue) over the fair share (neutral) to four times (orange).
const heatStops = {
  light: [[16, 78, 139], [92, 158, 204], [190, 216, 233], [244, 242, 237], [250, 211, 164], [232, 139, 48], [158, 69, 0]],
  dark: [[140, 205, 255], [66, 140, 200], [40, 76, 106], [44, 45, 51], [112, 68, 30], [205, 116, 38], [255, 190, 110]],
};

function heatColor(load) {
  const stops = heatStops[currentTheme()];
  const place = Math.min(Math.max((Math.log2(Math.max(load, 1e-3)) + 2) / 4, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(place), stops.length - 2);
  return stops[i].map((channel, c) => Math.round(channel + (place - i) * (stops[i + 1][c] - channel)));
}

function heatScale() {
  const gradient = heatStops[currentTheme()].map((stop) => `rgb(${stop})`).join(',');
  return element('span', { class: 'scale', title: 'load relative to the fair share' },
    '¼', element('i', { style: `background: linear-gradient(90deg, ${gradient})` }), '4 × fair share');
}

class HeatMap {
  constructor(run) {
    this.run = run;
    this.heat = runs[run].routing.heat;
    this.loads = this.heat.maps.map((map) => decodeLoads(map.loads));
    this.note = element('span', { class: 'note' });
    this.canvas = element('canvas', { role: 'img' });
    const layers = this.heat.layers.length;
    const rowHeight = Math.max(7, Math.min(22, 264 / layers));
    const every = Math.ceil(11 / rowHeight);
    const labels = (side) => element('div', { class: 'labels ' + side, style: `grid-template-rows: repeat(${layers}, ${rowHeight}px)` });
    this.left = labels('');
    this.right = labels('right');
    this.every = every;
    this.heat.layers.forEach((layer, i) => this.left.append(element('span', null, i % every === 0 ? String(layer) : '')));
    this.below = element('div', { class: 'below' });
    this.node = element('figure', { class: 'card ' + (this.heat.experts > 128 ? 'wide' : 'half') },
      element('figcaption', null, element('h3', null, runKey(run), ' ', runs[run].name), this.note),
      element('div', { class: 'heat' },
        element('div', { class: 'head' }, 'layer'), element('div'), element('div', { class: 'head' }, 'max'),
        this.left, this.canvas, this.right, this.below));
    this.canvas.addEventListener('pointermove', (event) => this.point(event));
    this.canvas.addEventListener('pointerdown', (event) => this.point(event));
    this.canvas.addEventListener('pointerleave', hideTooltip);
  }

  draw() {
    this.node.hidden = view.hidden.has(this.run);
    const { experts, layers, maps } = this.heat;
    const at = Math.round(view.heatAt * (maps.length - 1));
    const loads = this.loads[at];
    this.rows = layers.map((_, row) => {
      const order = Array.from({ length: experts }, (_, expert) => expert);
      const load = loads.subarray(row * experts, (row + 1) * experts);
      if (view.heatSorted) order.sort((a, b) => load[b] - load[a]);
      return { load, order };
    });
    this.canvas.width = experts;
    this.canvas.height = layers.length;
    const context = this.canvas.getContext('2d');
    const image = context.createImageData(experts, layers.length);
    let dead = 0;
    this.right.replaceChildren();
    this.rows.forEach(({ load, order }, row) => {
      let most = 0;
      order.forEach((expert, column) => {
        const [r, g, b] = heatColor(load[expert]);
        image.data.set([r, g, b, 255], 4 * (row * experts + column));
        most = Math.max(most, load[expert]);
        if (load[expert] === 0) dead += 1;
      });
      this.right.append(element('span', null, row % this.every === 0 ? most.toFixed(1) + '×' : ''));
    });
    context.putImageData(image, 0, 0);
    const step = formatInteger(maps[at].step);
    this.note.textContent = `step ${step}` + (dead ? ` · ${dead} of ${experts * layers.length} experts without tokens` : '');
    this.canvas.setAttribute('aria-label', `Expert loads of ${runs[this.run].name} at step ${step}`);
    this.below.replaceChildren(...(view.heatSorted
      ? [element('span', null, 'most loaded'), element('span', null, 'least loaded')]
      : [element('span', null, 'expert 0'), element('span', null, String(experts - 1))]));
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const { experts, layers } = this.heat;
    const column = Math.min(experts - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * experts)));
    const row = Math.min(layers.length - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * layers.length)));
    const { load, order } = this.rows[row];
    const expert = order[column];
    showTooltip(element('div', null,
      element('b', null, `layer ${layers[row]}, expert ${expert}`), element('br'),
      load[expert] === 0 ? 'no tokens' : `${formatTimes(load[expert])} its fair share`), event.clientX, event.clientY);
  }
}
