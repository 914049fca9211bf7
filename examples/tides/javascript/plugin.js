// Tells the next tides of a station, from a web service.

import { config, Failure } from "tenon";

const { service } = config();

/**
 * Tells the next tides of a station.
 *
 * @param {string} station The station, as the service names it.
 * @param {integer} [count=2] How many, at most 10.
 * @returns {{station: string, tides: object[]}}
 */
export async function next_tides(station, count = 2) {
  if (!/^[a-z0-9-]+$/.test(station)) {
    throw new Failure(`\`${station}\` is no station: small letters, digits and \`-\` name one`, "invalid_station");
  }
  if (!(count >= 1 && count <= 10)) throw new Failure("count has to be from 1 to 10", "invalid_count");
  const answer = await fetch(`${service}/stations/${station}/tides`, { signal: AbortSignal.timeout(10_000) });
  if (answer.status === 404) throw new Failure(`the service knows no station \`${station}\``, "unknown_station");
  if (!answer.ok) {
    const mayPass = answer.status === 429 || answer.status >= 500;
    throw new Failure(`the server answered with status ${answer.status}`, "http_status", mayPass);
  }
  let tides;
  try {
    tides = (await answer.json()).tides.map(({ time, type, height }) => ({ time, type, height }));
  } catch {
    throw new Failure("the service's answer is no list of tides", "invalid_answer");
  }
  return { station, tides: tides.slice(0, count) };
}
