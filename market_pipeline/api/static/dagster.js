// Links into the Dagster UI, to the partition of a day of a symbol.

let ui = "";

/** Set the address of the UI, without a trailing slash. */
export function setUi(address) {
  ui = address;
}

/** Return the address of the partition of `asset` for a price of `symbol` at `time`. */
export function partition(asset, symbol, time) {
  const day = new Date(time).toISOString().slice(0, 10);
  return `${ui}/assets/${asset}?view=partitions&partition=${encodeURIComponent(`${day}|${symbol}`)}`;
}
