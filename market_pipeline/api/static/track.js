// The last day of a symbol: its quotes and its silences.

export const SPAN_MS = 24 * 3600_000;

// History has a point an hour, some slightly late: the one before the day shows whether it begins in a silence.
export const REACH_MS = SPAN_MS + 2 * 3600_000;

// As in market_pipeline/charts/track.py: a silence is longer than so many usual intervals.
const SILENT_INTERVALS = 3.1;
const NEIGHBOURS = 9;

/**
 * Describe `points` ([time, price] by time, reaching back REACH_MS) as of `end`: those of the last day in
 * unbroken `stretches`, the `silences` between, before and after them, the lowest and highest price.
 */
export function trackOf(points, end) {
  const start = end - SPAN_MS;
  const first = points.findIndex(([time]) => time >= start);
  const shown = first < 0 ? [] : points.slice(first).filter(([time]) => time <= end);
  // The quote before the first one shows whether the day begins in a silence.
  const all = shown.length && first > 0 ? [points[first - 1], ...shown] : shown;
  const intervals = all.slice(1).map(([time], place) => time - all[place][0]);
  const usual = usualIntervals(intervals);
  const stretches = all.length ? [[all[0]]] : [];
  const silences = all.length ? [] : [[start, end]];
  all.slice(1).forEach((point, place) => {
    if (intervals[place] > SILENT_INTERVALS * usual[place]) {
      silences.push([Math.max(all[place][0], start), point[0]]);
      stretches.push([]);
    }
    stretches.at(-1).push(point);
  });
  const prices = shown.map(([, price]) => price);
  return {
    start, end,
    stretches: stretches.map((stretch) => fromStart(stretch, start)).filter((stretch) => stretch.length),
    silences: [...silences, ...edges(all, intervals, start, end)],
    low: Math.min(...prices), high: Math.max(...prices),
  };
}

/** Cut off what lies before `start`; a line that comes from there begins at the edge. */
function fromStart(stretch, start) {
  if (stretch[0][0] >= start) return stretch;
  const [[time, price], next] = stretch;
  if (!next) return [];
  const share = (start - time) / (next[0] - time);
  return [[start, price + share * (next[1] - price)], ...stretch.slice(1)];
}

/** Return the silences before the first quote and after the last one. */
function edges(all, intervals, start, end) {
  if (!intervals.length) return all.length ? [[start, all[0][0]], [all[0][0], end]] : [];
  const found = [];
  const [[first], [last]] = [all[0], all.at(-1)];
  if (first - start > SILENT_INTERVALS * median(intervals.slice(0, NEIGHBOURS))) found.push([start, first]);
  if (end - last > SILENT_INTERVALS * median(intervals.slice(-NEIGHBOURS))) found.push([last, end]);
  return found;
}

/** Return for each interval the median of its neighbours before or after it, the larger one. */
function usualIntervals(intervals) {
  if (intervals.length < 2) return intervals.map(() => Infinity);
  return intervals.map((_, place) => {
    const before = intervals.slice(Math.max(0, place - NEIGHBOURS), place);
    const after = intervals.slice(place + 1, place + 1 + NEIGHBOURS);
    return Math.max(...[before, after].filter((side) => side.length).map(median));
  });
}

function median(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
