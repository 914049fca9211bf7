// Calls of the host, and what they wait for: ops and timers.
//
// There is no way to see which call a promise's continuation belongs to. But the host enters the guest once for each thing that
// happens (a call, an op's outcome, a timer) and has all jobs run before the next: what runs then follows from that one thing, except
// where calls wait for one promise that they share. So `current`, set at each entry, is certain in what the entry itself calls and in
// what `then` is given; behind an `await` only while there is no other call.

/** The call on whose behalf code runs: `{ id, caller, isAnswered }`, kept by what the call leaves behind; null while the plugin is loaded. */
let current = null;
let isCertain = false;

/** Calls that have not ended, by id. */
const openCalls = new Map();

/** What waits for an op's outcome, by the op's id: `{ call, resolve, reject }`. */
const waiting = new Map();
let lastOp = 0;

/** Whether the plugin's modules are being evaluated. */
let isLoading = false;

/** The call on whose behalf code runs, or null where that is not certain. */
function runningCall() {
  return isCertain || (current !== null && mapSize(openCalls) === 1 && mapHas(openCalls, current.id)) ? current : null;
}

/** Runs what is done for a call, or for none that is known. */
function runFor(call, action) {
  const before = current;
  const wasCertain = isCertain;
  current = call;
  isCertain = true;
  try {
    return action();
  } finally {
    current = before;
    isCertain = wasCertain;
  }
}

// What `then` is given runs for the call that gave it. `await` of a promise does not come this way.
const { then } = {
  then(kept, failed) {
    const call = runningCall();
    const bound = (action) => (typeof action === "function" ? (value) => runFor(call, () => apply(action, undefined, [value])) : action);
    return promiseThen(this, bound(kept), bound(failed));
  },
};
objectDefine(Promise.prototype, "then", { __proto__: null, value: then });

/** The running call's id for the host, which knows calls until they are answered. */
function onBehalfOf() {
  const call = runningCall();
  return call !== null && !call.isAnswered ? call.id : null;
}

/** Starts an op. Gives its id, to cancel it, and the promise of its value. */
function startOp(kind, parameters, body) {
  if (isLoading) {
    const failure = new Failure(`\`${kind}\` cannot be used while the plugin is loaded: do it in \`start\` or in a function`, "not_loaded");
    return { id: 0, promise: promiseReject(failure) };
  }
  const id = ++lastOp;
  const promise = new Promise((resolve, reject) => mapSet(waiting, id, { __proto__: null, call: runningCall(), resolve, reject }));
  host("start-op", id, kind, jsonStringify(parameters), body);
  return { id, promise };
}

/** Gives an op up, and has its promise fail. One that has ended is left alone. */
function cancelOp(id, reason) {
  const op = mapGet(waiting, id);
  if (op === undefined) return;
  mapDelete(waiting, id);
  host("cancel-op", id);
  op.reject(reason);
}

/** The outcome of an op. One that nobody waits for any more is dropped. */
function deliver(id, ok, kind, json, body) {
  if (id === armedOp) {
    if (ok === 1) return fireTimer();
    // The host cannot sleep now, as where it has too many ops: the next that ends has it asked again.
    armedOp = 0;
    return;
  }
  const op = mapGet(waiting, id);
  if (op === undefined) return;
  mapDelete(waiting, id);
  if (armedOp === 0) arm();
  current = op.call;
  if (ok !== 1) op.reject(failureOf(json));
  else if (kind === "done") op.resolve(undefined);
  else if (kind === "json") op.resolve(jsonParse(json));
  else op.resolve({ __proto__: null, head: jsonParse(json), body });
}

/** Begins a call. Its outcome comes by `complete`, in the same turn where it need not wait. */
function beginCall(id, kind, name, parameters, context) {
  const call = { __proto__: null, id, caller: jsonParse(context).caller ?? null, isAnswered: false };
  mapSet(openCalls, id, call);
  if (armedOp === 0) arm();
  runFor(call, () => serve(call, kind, name, parameters));
  current = call;
}

const UNKNOWN = failureText("the call failed, and its error cannot be told", "error");

async function serve(call, kind, name, parameters) {
  let ok = 1;
  let outcome;
  try {
    outcome = resultText(await dispatch(kind, name, parameters));
  } catch (error) {
    ok = 0;
    try {
      if (!call.isAnswered) outcome = failureOfError(error, kind, name);
    } catch {
      // There is no memory or stack left to look at it.
      outcome = UNKNOWN;
    }
  }
  mapDelete(openCalls, call.id);
  if (!call.isAnswered) host("complete", call.id, ok, outcome);
  call.isAnswered = true;
}

/** The result as JSON; nothing is `null`. */
function resultText(result) {
  if (result === undefined) return "null";
  try {
    return jsonOf(result, "the result", "result_too_large");
  } catch (error) {
    throw isFailure(error) ? error : new Failure(error.message, "invalid_result");
  }
}

/** The error's words, which is all that the caller learns. The log has where it was thrown. */
function failureOfError(error, kind, name) {
  const failed = isFailure(error);
  // Nothing was thrown in the plugin.
  if (!failed || error.code !== "unknown_function") logError(`${kind} \`${name}\` failed`, error);
  const code = failed && typeof error.code === "string" ? error.code : "error";
  return failureText(errorWords(error), code, failed && error.retryable === true);
}

/**
 * The caller of this call has been answered: its outcome is dropped. What it began goes on, since other calls may wait for the
 * same promises; the host bounds each op.
 */
function cancelCall(id) {
  const call = mapGet(openCalls, id);
  if (call !== undefined) call.isAnswered = true;
}

// Timers, in the order in which they are due. One op of the host's sleeps until the first; each that fires is an entry of its own.

/** The longest time that the host is asked to sleep at once, in milliseconds. */
const SLEEP_MAX = 864e5;

const timers = [];
let lastTimer = 0;
/** The op that sleeps, and until when. */
let armedOp = 0;
let armedUntil = Infinity;

/** Adds a timer. `period` is null for one that fires once. */
function addTimer(id, delay, period, action, call) {
  const due = host("monotonic") + delay;
  let low = 0;
  let high = timers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (timers[middle].due <= due) low = middle + 1;
    else high = middle;
  }
  arraySplice(timers, low, 0, { __proto__: null, id, due, period, action, call });
  arm();
  return id;
}

function clearTimer(id) {
  for (let at = 0; at < timers.length; at++) {
    if (timers[at].id !== id) continue;
    arraySplice(timers, at, 1);
    arm();
    return;
  }
}

/** Has the host sleep until the first timer is due. */
function arm() {
  const until = timers.length > 0 ? timers[0].due : Infinity;
  if (armedOp !== 0 && armedUntil === until) return;
  if (armedOp !== 0) {
    // It is asked again once it wakes, rather than each time that its timer is cleared.
    if (armedUntil < until && timers.length > 0) return;
    host("cancel-op", armedOp);
    armedOp = 0;
  }
  armedUntil = until;
  if (timers.length === 0) return;
  const rest = min(max(until - host("monotonic"), 0), SLEEP_MAX);
  armedOp = ++lastOp;
  host("start-op", armedOp, "sleep", jsonStringify({ __proto__: null, ns: ceil(rest * 1e6) }));
}

/** The host has woken: the first timer fires, if it is due. */
function fireTimer() {
  armedOp = 0;
  const timer = timers.length > 0 && timers[0].due <= host("monotonic") ? arrayShift(timers) : null;
  if (timer !== null) {
    current = timer.call;
    if (timer.period !== null) addTimer(timer.id, timer.period, timer.period, timer.action, timer.call);
  }
  arm();
  if (timer === null) return;
  try {
    runFor(timer.call, timer.action);
  } catch (error) {
    logError("a timer's function failed", error);
  }
}

function timerOf(action, delay, values, isRepeated) {
  if (typeof action !== "function") throw new TypeError(`a timer needs a function, not ${kindOf(action)}`);
  // At least one millisecond, as everywhere.
  const wait = +delay >= 1 ? +delay : 1;
  const run = () => apply(action, undefined, values);
  return addTimer(++lastTimer, wait, isRepeated ? wait : null, run, runningCall());
}

/** A promise that is kept after this time. */
function sleep(duration) {
  const wait = milliseconds(duration, "the time to sleep");
  return new Promise((resolve) => {
    addTimer(++lastTimer, wait, null, resolve, runningCall());
  });
}

provide("setTimeout", (action, delay, ...values) => timerOf(action, delay, values, false));
provide("setInterval", (action, delay, ...values) => timerOf(action, delay, values, true));
provide("clearTimeout", clearTimer);
provide("clearInterval", clearTimer);

const resolved = promiseResolve();
provide("queueMicrotask", (action) => {
  if (typeof action !== "function") throw new TypeError(`\`queueMicrotask\` needs a function, not ${kindOf(action)}`);
  promiseThen(resolved, () => {
    try {
      action();
    } catch (error) {
      logError("a microtask failed", error);
    }
  });
});

const began = host("monotonic");
provide("performance", { now: () => host("monotonic") - began, timeOrigin: Date.now() });
