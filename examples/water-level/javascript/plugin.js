// Watches a gauge and tells when the water is high.

import { config, emit, invokeRemote, state } from "tenon";

const { gauge, limit } = config();
const NOTHING = { highest: null, alarms: 0, is_high: false };

let level = null;
let problem = null;

export const routines = { poll: { every: "1s" } };

export const events = {
  high_water: {
    description: "The water has risen above the limit.",
    payload_schema: {
      type: "object",
      properties: {
        level: { type: "number", description: "Where it is, in metres." },
        limit: { type: "number", description: "What it is above." },
      },
      required: ["level", "limit"],
    },
  },
};

/** Tells the level of the water, and its record. */
export function get_readings() {
  const { highest, alarms } = state.get("record", NOTHING);
  return { level, problem, highest, alarms };
}

/** Asks the gauge. */
export async function poll() {
  try {
    level = (await invokeRemote(gauge, "get_level")).level;
    problem = null;
  } catch (failure) {
    level = null;
    problem = failure.message;
    return;
  }
  const record = state.get("record", NOTHING);
  const is_high = level > limit;
  const rises = is_high && !record.is_high;
  const highest = record.highest === null ? level : Math.max(level, record.highest);
  if (highest !== record.highest || is_high !== record.is_high) {
    state.set("record", { highest, alarms: record.alarms + (rises ? 1 : 0), is_high });
  }
  if (rises) emit("high_water", { level, limit });
}
