// The page: what it shows of the data, and the controls.

const data = JSON.parse(document.getElementById('data').textContent);
const runs = data.runs;
const axisNames = { step: 'step', tokens: 'tokens', seconds: 'wall-clock' };
const quarters = ['0–25 %', '25–50 %', '50–75 %', '75–100 %'];

const view = {
  axis: 'step', logX: false, logY: false, smoothing: 0.6, show: 'both',
  hidden: new Set(), highlight: null, zoom: null, heatAt: 1, heatSorted: false,
};
const charts = [];
const heatMaps = [];
const onChange = [];

function change(part) {
  if ('axis' in part && part.axis !== view.axis) view.zoom = null;
  Object.assign(view, part);
  for (const update of onChange) update();
  redraw();
}

// What is in sight at once, the rest one by one after it: many long runs take a while to draw.
let waiting = [];
function redraw() {
  const visible = ({ node }) => {
    const { top, bottom } = node.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  };
  const drawings = [...charts, ...heatMaps];
  const inSight = new Set(drawings.filter(visible));
  const idle = waiting.length === 0;
  waiting = drawings.filter((drawing) => !inSight.has(drawing));
  for (const drawing of inSight) drawing.draw();
  if (idle) setTimeout(drawNext);
}
function drawNext() {
  if (!waiting.length) return;
  waiting.shift().draw();
  setTimeout(drawNext);
}

function highlight(run) {
  view.highlight = run;
  for (const chart of charts) chart.dim();
}

const runColor = (run) => `var(--run${run % 8})`;
const runDash = (run) => (run < 8 ? 'none' : run < 16 ? '6 4' : '2 4');
const runKey = (run) => element('span', { class: 'key' + (run < 8 ? '' : ' dashed'), style: `color: ${runColor(run)}` });

function formatClock(at) {
  if (view.axis === 'seconds') return formatDuration(at);
  return view.axis === 'tokens' ? formatCount(at) + ' tokens' : 'step ' + formatInteger(at);
}

// Theme: the system's, until chosen.
const systemDark = matchMedia('(prefers-color-scheme: dark)');
let chosenTheme = null;
const currentTheme = () => chosenTheme || (systemDark.matches ? 'dark' : 'light');
function applyTheme() {
  document.documentElement.dataset.theme = currentTheme();
  document.getElementById('theme').textContent = currentTheme() === 'dark' ? 'Light' : 'Dark';
}

// Lines of all runs from one table of columns.
function linesOf(table, column, more) {
  return runs.flatMap((run, i) => {
    const source = table(run);
    if (!source || !source[column]) return [];
    return [{ run: i, x: source[view.axis], y: source[column], ...more }];
  });
}
const trainLines = (column, more) => linesOf((run) => run.train, column, more);
const routingLines = (column) => linesOf((run) => run.routing, column);
const smoothed = (lines) => lines.map((line) => ({ ...line, y: smooth(line.y, view.smoothing) }));

function lossLines() {
  const lines = [];
  const both = view.show === 'both';
  if (view.show !== 'validation') {
    runs.forEach((run, i) => {
      const { loss, loss_low: low, loss_high: high } = run.train;
      const visibleBand = view.show === 'training' ? { low, high } : {};
      lines.push({ run: i, column: 'training', x: run.train[view.axis], y: smooth(loss, view.smoothing), width: both ? 1.1 : 1.75, opacity: both ? 0.5 : 1, ...visibleBand });
    });
  }
  if (view.show !== 'training') {
    runs.forEach((run, i) => lines.push({ run: i, column: 'validation', x: run.validation[view.axis], y: run.validation.loss, width: 2.2, dots: true }));
  }
  return lines;
}

function profileLines() {
  return runs.flatMap((run, i) => {
    const bins = run.validation.last_bins || [];
    const levels = run.validation.levels || { mask_ratio: [], loss: [] };
    return [
      { run: i, x: bins.map((_, b) => (b + 0.5) / bins.length), y: bins },
      { run: i, column: levels.loss.length ? 'fixed ratio' : '', x: levels.mask_ratio, y: levels.loss, points: true },
    ];
  });
}

function capacityLines() {
  return runs.flatMap((run, i) => (run.routing
    ? [{ run: i, x: run.routing.capacity.mask_ratio, y: run.routing.capacity.experts_per_token, dots: true }] : []));
}

const anyRun = (has) => runs.some(has);
const measured = (column) => Array.isArray(column) && column.some(isNumber);
const formatNumber = (value) => (isNumber(value) ? value.toFixed(2) : '–');

function segments(name, options) {
  const group = element('span', { class: 'segments', role: 'group', 'aria-label': name });
  const buttons = Object.entries(options.values).map(([value, label]) =>
    element('button', { type: 'button', onclick: () => change({ [options.key]: value }), 'data-value': value }, label));
  group.append(...buttons);
  onChange.push(() => buttons.forEach((button) => button.setAttribute('aria-pressed', view[options.key] === button.dataset.value)));
  return group;
}

function check(label, key) {
  const box = element('input', { type: 'checkbox', onchange: () => change({ [key]: box.checked }) });
  return element('label', { class: 'check' }, box, label);
}

function slider(label, key, most, step) {
  const input = element('input', { type: 'range', min: 0, max: most, step, value: view[key], oninput: () => change({ [key]: Number(input.value) }) });
  return element('label', { class: 'slide' }, label, input);
}

function buildToolbar() {
  const chips = runs.map((run, i) => element('button', {
    type: 'button', class: 'run', title: run.directory,
    onclick: () => {
      const hidden = new Set(view.hidden);
      if (!hidden.delete(i)) hidden.add(i);
      change({ hidden });
    },
    ondblclick: () => change({ hidden: new Set(runs.map((_, other) => other).filter((other) => other !== i)) }),
    onpointerenter: () => highlight(i),
    onpointerleave: () => highlight(null),
    onfocus: () => highlight(i),
    onblur: () => highlight(null),
  }, runKey(i), element('span', null, run.name)));
  onChange.push(() => chips.forEach((chip, i) => chip.setAttribute('aria-pressed', !view.hidden.has(i))));
  const everything = element('button', { type: 'button', class: 'quiet', onclick: () => change({ zoom: null, hidden: new Set() }) }, 'Show everything');
  onChange.push(() => { everything.hidden = !view.zoom && !view.hidden.size; });
  document.getElementById('toolbar').append(
    element('div', { class: 'runs' }, ...chips, everything),
    element('div', { class: 'controls' },
      segments('x axis', { key: 'axis', values: { step: 'Step', tokens: 'Tokens', seconds: 'Time' } }),
      check('log x', 'logX'),
      slider('smoothing', 'smoothing', 0.98, 0.02)));
}

function section(title, note, controls, ...children) {
  const node = element('section', null,
    element('header', null, element('h2', null, title), note ? element('p', null, note) : null,
      controls.length ? element('div', { class: 'controls' }, ...controls) : null),
    ...children);
  document.getElementById('main').append(node);
}

function chart(spec) {
  const made = new Chart(spec);
  charts.push(made);
  return made.node;
}
const grid = (...children) => element('div', { class: 'grid' }, ...children.filter(Boolean));

function buildSummary() {
  const table = summaryTable();
  onChange.push(() => {
    for (const row of table.querySelectorAll('tr[data-run]')) row.classList.toggle('hidden', view.hidden.has(Number(row.dataset.run)));
  });
  section('Summary', '', [], table);
}

function buildLoss() {
  const controls = [
    segments('curves', { key: 'show', values: { validation: 'Validation', both: 'Both', training: 'Training' } }),
    check('log y', 'logY'),
  ];
  section('Loss', 'Nats per token. Validation as thick lines with dots; training as thin lines, smoothed.', controls,
    grid(chart({ title: 'Loss', size: 'wide', height: 380, lines: lossLines, format: formatLoss, logY: () => view.logY })));
}

function buildMaskRatio() {
  const binned = anyRun((run) => (run.validation.quarters || []).some(measured));
  if (!binned) return;
  const small = quarters.map((name, q) => chart({
    title: name + ' masked', size: 'quarter', height: 190, format: formatLoss, logY: () => view.logY,
    lines: () => runs.map((run, i) => ({ run: i, x: run.validation[view.axis], y: run.validation.quarters[q], width: 1.9, dots: true })),
  }));
  section('Loss by mask ratio', 'Validation loss of the masked tokens, by the share of the sequence that is masked.', [],
    grid(...small, chart({
      title: 'At the last validation', note: 'over the mask ratio', size: 'wide', height: 240, x: 'ratio', xName: 'masked', lines: profileLines, format: formatLoss,
    })));
}

function buildRouting() {
  if (!anyRun((run) => run.routing)) return;
  const has = (column) => anyRun((run) => run.routing && measured(run.routing[column]));
  const over = (title, note, column, format, more) => has(column) && chart({ title, note, size: 'half', height: 210, lines: () => routingLines(column), format, ...more });
  const cards = [
    over('Experts per token', '', 'experts_per_token', formatNumber, { leastSpan: 0.25 }),
    anyRun((run) => run.routing && run.routing.capacity.mask_ratio.length) && chart({
      title: 'Experts per token', note: 'over the mask ratio, all steps', size: 'half', height: 210, x: 'ratio', xName: 'masked', lines: capacityLines, format: formatNumber,
    }),
    over('Load imbalance', 'busiest expert, relative to the mean', 'imbalance', formatTimes, { logY: () => view.logY, leastSpan: 0.25 }),
    over('Experts of a block', 'distinct, of all its tokens', 'block_experts', formatNumber, { leastSpan: 0.25 }),
    over('Router entropy', 'nats', 'entropy', formatNumber, { leastSpan: 0.25 }),
    anyRun((run) => run.routing && (run.routing.unrouted || []).some((v) => v > 0)) && over('Tokens without an expert', '', 'unrouted', formatShare, { zero: true, tick: (tick) => formatShare(tick) }),
    anyRun((run) => run.routing && (run.routing.dropped || []).some((v) => v > 0)) && over('Dropped', 'of the places asked for', 'dropped', formatShare, { zero: true, tick: (tick) => formatShare(tick) }),
  ].filter(Boolean);
  if (cards.length % 2 === 1) cards[cards.length - 1].classList.replace('half', 'wide');
  section('Routing', 'Means over the routed layers.', [], grid(...cards));

  runs.forEach((run, i) => { if (run.routing && run.routing.heat && run.routing.heat.maps.length) heatMaps.push(new HeatMap(i)); });
  if (!heatMaps.length) return;
  const scale = element('span');
  onChange.push(() => scale.replaceChildren(heatScale()));
  const controls = [scale, check('sort by load', 'heatSorted')];
  if (heatMaps.some((map) => map.heat.maps.length > 1)) controls.push(slider('start → end', 'heatAt', 1, 0.01));
  section('Expert load', 'Tokens of each expert in each layer; neutral is the fair share.', controls, grid(...heatMaps.map((map) => map.node)));
}

function buildSpeed() {
  const speed = anyRun((run) => measured(run.train.tokens_per_second));
  const flops = anyRun((run) => measured(run.train.model_flops_per_second));
  const cards = [
    speed && chart({ title: 'Tokens per second', size: 'half', height: 210, zero: true, format: formatCount, lines: () => smoothed(trainLines('tokens_per_second')) }),
    flops && chart({ title: 'Model FLOP/s', note: 'of the active parameters', size: 'half', height: 210, zero: true, format: formatCount, lines: () => smoothed(trainLines('model_flops_per_second')) }),
    anyRun((run) => measured(run.train.gradient_norm)) && chart({ title: 'Gradient norm', note: 'before clipping', size: 'half', height: 210, logY: true, format: formatSmall, lines: () => smoothed(trainLines('gradient_norm')) }),
    anyRun((run) => measured(run.train.learning_rate)) && chart({ title: 'Learning rate', size: 'half', height: 210, zero: true, format: formatSmall, tick: formatSmall, lines: () => trainLines('learning_rate') }),
  ].filter(Boolean);
  if (cards.length) section('Speed and optimisation', '', [], grid(...cards));
}

function buildConfiguration() {
  const differing = data.configuration.filter((row) => row.differs);
  const equal = data.configuration.filter((row) => !row.differs);
  if (!data.configuration.length) return;
  const parts = [];
  if (differing.length) parts.push(configurationTable(differing));
  if (equal.length) {
    const single = runs.length === 1;
    parts.push(element('details', single ? {} : { style: 'margin-top: 10px' },
      element('summary', null, single ? `All ${equal.length} keys` : `${equal.length} keys on which the runs agree`), configurationTable(equal)));
  }
  const note = runs.length === 1 ? '' : differing.length ? 'Keys on which the runs differ.' : 'The runs agree on every key.';
  section('Configuration', note, [], ...parts);
}

function sampleNode(sample) {
  const prompted = sample.prompt && sample.text.startsWith(sample.prompt);
  const text = prompted ? sample.text.slice(sample.prompt.length) : sample.text;
  return element('div', { class: 'sample' }, element('small', null, 'step ' + formatInteger(sample.step)),
    sample.prompt ? element('span', { class: 'prompt' }, sample.prompt) : null, text);
}

function buildSamples() {
  const cards = runs.map((run, i) => {
    if (!run.samples.length) return null;
    const last = run.samples[run.samples.length - 1].step;
    const latest = run.samples.filter((sample) => sample.step === last);
    const earlier = run.samples.filter((sample) => sample.step !== last).reverse();
    const node = element('article', { class: 'card ' + (runs.length > 1 ? 'half' : 'wide') },
      element('h3', null, runKey(i), ' ', run.name), ...latest.map(sampleNode),
      earlier.length ? element('details', null, element('summary', null, 'Earlier'), ...earlier.map(sampleNode)) : null);
    onChange.push(() => { node.hidden = view.hidden.has(i); });
    return node;
  });
  if (cards.some(Boolean)) section('Samples', 'Texts the model wrote while training; the prompt stands on grey.', [], grid(...cards));
}

function lede() {
  const total = runs.reduce((sum, run) => sum + (run.summary.tokens || 0), 0);
  const machines = [...new Set(runs.map((run) => run.summary).filter((s) => s.processor).map((s) =>
    `${s.processor}, ${s.threads} thread${s.threads === 1 ? '' : 's'}${s.isa ? ', ' + s.isa : ''}`))];
  return [runs.length > 1 ? runs.length + ' runs' : runs[0].summary.status, formatCount(total) + ' tokens', ...machines.slice(0, 2)].join(' · ');
}

document.getElementById('lede').textContent = lede();
document.body.append(tooltip);
document.getElementById('theme').addEventListener('click', () => {
  chosenTheme = currentTheme() === 'dark' ? 'light' : 'dark';
  applyTheme();
  change({});
});
systemDark.addEventListener('change', () => { applyTheme(); change({}); });
addEventListener('scroll', hideTooltip, { passive: true });
applyTheme();
buildToolbar();
buildSummary();
buildLoss();
buildMaskRatio();
buildRouting();
buildSpeed();
buildConfiguration();
buildSamples();
change({});
