// Axes: where a value lies, and which values deserve a label.

function makeScale(low, high, from, to, log) {
  const place = log ? Math.log : (v) => v;
  const back = log ? Math.exp : (v) => v;
  const a = place(low);
  const span = place(high) - a || 1;
  return {
    low, high, log,
    at: (value) => from + ((place(value) - a) / span) * (to - from),
    invert: (pixel) => back(a + ((pixel - from) / (to - from)) * span),
  };
}

function niceStep(span, count, candidates) {
  const rough = span / Math.max(count, 1);
  if (candidates) {
    const fitting = candidates.find((c) => c >= rough);
    if (fitting) return fitting;
  }
  const power = 10 ** Math.floor(Math.log10(rough));
  for (const factor of [1, 2, 2.5, 5, 10]) {
    if (factor * power >= rough * 0.75) return factor * power;
  }
  return 10 * power;
}

const timeSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000];

function linearTicks(low, high, count, time) {
  const step = niceStep(high - low, count, time && high - low > 5 ? timeSteps : null);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) ticks.push(i * step);
  return { ticks, step };
}

function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return linearTicks(low, high, count);
  const factors = decades * 3 <= count ? [1, 2, 5] : decades * 2 <= count ? [1, 3] : [1];
  const every = Math.max(1, Math.ceil(decades / Math.max(count, 1)));
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    if (power % every !== 0) continue;
    for (const factor of factors) {
      const tick = factor * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return { ticks, step: 0 };
}

// The index of the value nearest to x in an ascending list.
function nearest(values, x) {
  let low = 0;
  let high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] < x) low = middle;
    else high = middle;
  }
  return Math.abs(values[low] - x) <= Math.abs(values[high] - x) ? low : high;
}

// Exponential mean of the values so far, without the pull of its first value.
function smooth(values, weight) {
  if (weight <= 0) return values;
  let sum = 0;
  let norm = 0;
  return values.map((value) => {
    if (!isNumber(value)) return null;
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
}
