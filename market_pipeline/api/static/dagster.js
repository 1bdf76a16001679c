// Links into the Dagster UI, where the partition of a day of a symbol tells the rest.

let ui = "";

/** Where the UI is, without a slash at its end. */
export function setUi(address) {
  ui = address;
}

/** The partition of `asset` that a price of `symbol` at `time` belongs to. */
export function partition(asset, symbol, time) {
  const day = new Date(time).toISOString().slice(0, 10);
  return `${ui}/assets/${asset}?view=partitions&partition=${encodeURIComponent(`${day}|${symbol}`)}`;
}
