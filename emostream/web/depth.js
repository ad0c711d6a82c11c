/** How many records of each log wait to be read. Pure. */

/**
 * @param {import("./topology.js").Process[]} processes
 * @returns {{reactions: ?number, swarms: ?number, clusters: Map<string, ?number>}}
 *   records of `reactions` that no swarm covers, swarms that a publisher has not read, and swarms of each cluster's
 *   topic that a subscriber has not; null where nobody is there who knows
 */
export function waitingIn(processes) {
  const ready = processes.filter(({ state }) => state === "ready");
  const of = (tier, name) =>
    ready
      .filter((process) => process.tier === tier && process.metrics[name] !== undefined)
      .map((process) => ({ ...process, value: process.metrics[name] }));
  const readers = of("subscriber", "emostream_subscriber_head_sequence");
  const heads = of("publisher", "emostream_publisher_head_sequence").filter(({ leader }) => leader);
  return {
    // Who leads the aggregators may be away, and then the auditor still knows.
    reactions: mostOf(
      [
        ...of("audit", "emostream_audit_waiting_records"),
        ...of("aggregator", "emostream_aggregator_lag_records").filter(({ leader }) => leader),
      ].slice(0, 1),
    ),
    swarms: mostOf(of("publisher", "emostream_publisher_lag_records").filter(({ leader }) => leader)),
    clusters: new Map(
      heads.map(({ cluster, value }) => {
        const behind = readers.filter((reader) => reader.cluster === cluster);
        // The two are asked one after the other, so a reader may seem to be ahead.
        return [cluster, mostOf(behind.map((reader) => ({ value: Math.max(0, value - reader.value) })))];
      }),
    ),
  };
}

const mostOf = (all) => (all.length > 0 ? Math.max(...all.map(({ value }) => value)) : null);
