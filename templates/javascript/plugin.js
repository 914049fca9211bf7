import { emit, Failure, log } from "tenon";

let actions = 0;

/** Returns the status of the service. */
export function get_service_status() {
  return { status: "ok", actions };
}

/**
 * Runs an action.
 * @param {string} action What to do.
 * @param {object} params Anything the action needs.
 */
export async function run_action(action, params = {}) {
  if (action === "") throw new Failure("the action has no name", "invalid_action");
  actions += 1;
  log.info("action", action, params);
  emit("action_done", { action, actions });
  return { action, params, done: true };
}

export function report() {
  log.info(`${actions} actions so far`);
}

export const routines = {
  report: { every: "60s" },
};

export const events = {
  action_done: {
    description: "An action has been done.",
    payload_schema: {
      type: "object",
      properties: { action: { type: "string" }, actions: { type: "integer" } },
      required: ["action", "actions"],
    },
  },
};
