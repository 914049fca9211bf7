// Puts what other plugins know on the harbour's sign.

import { config, Failure, invoke, invokeRemote } from "tenon";

const { sign } = config();

/**
 * Shows the next tide and the level of the water on the sign.
 *
 * @param {string} station The station, as the tides' service names it.
 * @returns {{text: string, tide: object, level: number}}
 */
export async function report(station) {
  const [{ tides }, { level }] = await Promise.all([
    invoke("tides.next_tides", { station, count: 1 }),
    invoke("water-level.get_readings"),
  ]);
  if (tides.length === 0) throw new Failure(`no tide of \`${station}\` is known`, "no_tide");
  const [tide] = tides;
  const text = `${tide.type} water ${tide.time}, level ${level === null ? "unknown" : `${level.toFixed(1)} m`}`;
  await invokeRemote(sign, "show", { text });
  return { text, tide, level };
}
