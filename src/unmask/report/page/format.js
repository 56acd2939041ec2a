'use strict';

// Numbers as people read them. Whatever was not measured is a dash.

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

function formatCount(value) {
  if (!isNumber(value)) return '–';
  const size = Math.abs(value);
  if (size < 1000 && Number.isInteger(value)) return String(value);
  const units = ['', 'k', 'M', 'B', 'T', 'P', 'E'];
  let unit = 0;
  let scaled = value;
  while (Math.abs(scaled) >= 999.5 && unit + 1 < units.length) {
    scaled /= 1000;
    unit += 1;
  }
  const magnitude = Math.abs(scaled);
  if (magnitude >= 999.5 || (magnitude < 0.01 && magnitude > 0)) return value.toExponential(1);
  return scaled.toFixed(magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2) + units[unit];
}

const formatInteger = (value) => (isNumber(value) ? Math.round(value).toLocaleString('en-US') : '–');
const formatLoss = (value) => (isNumber(value) ? value.toFixed(3) : '–');
const formatTimes = (value) => (isNumber(value) ? value.toFixed(2) + '×' : '–');
const formatShare = (value) => (isNumber(value) ? (100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0) + ' %' : '–');
const formatBytes = (value) => (isNumber(value) && value > 0 ? formatCount(value).replace('B', 'G').replace(/[kMGT]?$/, ' $&B') : '–');

function formatSmall(value) {
  if (!isNumber(value)) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  return size < 0.01 || size >= 10000 ? value.toExponential(2).replace('e+', 'e').replace(/\.?0+e/, 'e') : String(+value.toPrecision(3));
}

function formatDuration(seconds) {
  if (!isNumber(seconds)) return '–';
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, '0');
  if (s < 60) return (seconds < 10 ? +seconds.toFixed(1) : s) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min' + (s % 60 && s < 600 ? ' ' + two(s % 60) + ' s' : '');
  if (s < 172800) return Math.floor(s / 3600) + ' h ' + two(Math.floor(s / 60) % 60) + ' min';
  return Math.floor(s / 86400) + ' d ' + Math.floor(s / 3600) % 24 + ' h';
}

// On an axis: every label to the same precision as its neighbours.
function formatTick(value, step) {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1000) {
    const text = formatCount(value);
    return text.replace(/\.0+(?=\D|$)/, '').replace(/(\.\d*[1-9])0+(?=\D|$)/, '$1');
  }
  if (size < 0.001) return formatSmall(value);
  if (!step) return String(+value.toPrecision(3));
  let decimals = 0;
  while (decimals < 6 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6) decimals += 1;
  return value.toFixed(decimals);
}

function formatTimeTick(seconds) {
  if (seconds === 0) return '0';
  if (seconds < 60) return +seconds.toFixed(2) + ' s';
  if (seconds < 3600) return +(seconds / 60).toFixed(1) + ' min';
  if (seconds < 86400) return +(seconds / 3600).toFixed(1) + ' h';
  return +(seconds / 86400).toFixed(1) + ' d';
}
