// The summary and the configurations side by side.

const summaryColumns = [
  { title: 'validation loss', sub: 'last', text: (s) => formatLoss(s.validation_loss), best: (s) => s.validation_loss },
  { title: 'best', sub: 'at step', text: (s) => formatLoss(s.best_loss), below: (s) => (isNumber(s.best_loss) ? formatInteger(s.best_step) : ''), best: (s) => s.best_loss },
  { title: 'perplexity', text: (s) => formatCount(s.perplexity) },
  { title: 'training loss', sub: 'last 5 %', text: (s) => formatLoss(s.training_loss) },
  { title: 'tokens/s', sub: 'FLOP/token', text: (s) => formatCount(s.tokens_per_second), below: (s) => formatCount(s.flops_per_token), best: (s) => -s.tokens_per_second },
  { title: 'tokens', sub: 'steps', text: (s) => formatCount(s.tokens), below: (s) => formatInteger(s.steps) },
  { title: 'time', sub: 'memory', text: (s) => formatDuration(s.seconds), below: (s) => formatBytes(s.memory_bytes) },
  { title: 'parameters', sub: 'active', text: (s) => formatCount(s.parameters || null), below: (s) => formatCount(s.active_parameters || null) },
  { title: 'experts/token', text: (s) => (isNumber(s.experts_per_token) ? s.experts_per_token.toFixed(1) : '–') },
  { title: 'load imbalance', sub: 'max/mean', text: (s) => formatTimes(s.load_imbalance) },
];

function summaryTable() {
  const head = element('tr', null, element('th', null, 'run'), ...summaryColumns.map((column) =>
    element('th', null, column.title, element('span', { class: 'sub' }, column.sub || ''))));
  const best = summaryColumns.map((column) => (column.best && runs.length > 1
    ? Math.min(...runs.map((run) => column.best(run.summary)).filter(isNumber)) : null));
  const body = runs.map((run, i) => element('tr', { 'data-run': i },
    element('th', { scope: 'row', title: run.directory }, runKey(i), ' ', run.name,
      element('span', { class: 'sub' }, run.summary.status)),
    ...summaryColumns.map((column, c) => element('td', { class: best[c] !== null && column.best(run.summary) === best[c] ? 'best' : '' },
      element('b', null, column.text(run.summary)), column.below ? element('span', { class: 'sub' }, column.below(run.summary)) : null))));
  return element('div', { class: 'card table' }, element('div', { class: 'scroll' },
    element('table', { class: 'data' }, element('thead', null, head), element('tbody', null, ...body))));
}

function configurationTable(rows) {
  const head = element('tr', null, element('th', null, 'key'), ...runs.map((run, i) =>
    element('th', { style: 'text-align: left' }, runKey(i), ' ', run.name)));
  const body = rows.map((row) => element('tr', null, element('th', { scope: 'row' }, row.key),
    ...row.values.map((value) => element('td', { class: 'left mono' + (value === '' ? ' absent' : '') }, value === '' ? 'not set' : value))));
  return element('div', { class: 'card table' }, element('div', { class: 'scroll' },
    element('table', { class: 'data configuration' }, element('thead', null, head), element('tbody', null, ...body))));
}
