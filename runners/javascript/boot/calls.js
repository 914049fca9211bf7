// Calls of the host, and what they wait for: ops and timers.
//
// There is no way to see which call a promise's continuation belongs to: `await` calls nothing, and QuickJS's hook for promises is silent there. But the host enters the guest once for each thing that
// happens (a call, an op's outcome, a timer) and has all jobs run before the next: what runs then follows from that one thing, except
// where calls wait for one promise that they share. So `current`, set at each entry, is certain in what the entry itself calls and in
// what `then` is given; behind an `await` only while there is no other call.

/** The call on whose behalf code runs: `{ id, caller, isAnswered }`, kept by what the call leaves behind; null while the plugin is loaded. */
let current = null;
let isCertain = false;

/** Calls that have not ended, by id. */
const openCalls = ownMap();

/** What waits for an op's outcome, by the op's id: `{ call, resolve, reject }`. */
const waiting = ownMap();
let lastOp = 0;

/** Whether the plugin's modules are being evaluated. */
let isLoading = false;

/** The call on whose behalf code runs, or null where that is not certain. */
function runningCall() {
  return isCertain || (current !== null && mapSize(openCalls) === 1 && openCalls.has(current.id)) ? current : null;
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
  const promise = new Promise((resolve, reject) => waiting.set(id, { __proto__: null, call: runningCall(), resolve, reject }));
  host("start-op", id, kind, jsonStringify(parameters), body);
  return { id, promise };
}

/** Gives an op up, and has its promise fail. One that has ended is left alone. */
function cancelOp(id, reason) {
  const op = waiting.get(id);
  if (op === undefined) return;
  waiting.delete(id);
  host("cancel-op", id);
  op.reject(reason);
}

const OP_KINDS = ["done", "json", "http", "failure"];

/** The outcome of the op of the cells. One that nobody waits for any more is dropped. */
function deliver(json, body) {
  const id = cells[ID];
  const kind = OP_KINDS[cells[KIND]];
  if (id === armedOp) {
    if (kind !== "failure") return fireTimer();
    // The host cannot sleep now, as where it has too many ops: the next that ends has it asked again.
    armedOp = 0;
    return;
  }
  const op = waiting.get(id);
  if (op === undefined) return;
  waiting.delete(id);
  if (armedOp === 0) arm();
  current = op.call;
  if (kind === "failure") op.reject(failureOf(json));
  else if (kind === "done") op.resolve(undefined);
  else if (kind === "json") op.resolve(jsonParse(json));
  else op.resolve({ __proto__: null, head: jsonParse(json), body });
}

const KINDS = ["function", "routine", "event", "start", "stop", "self-test", "migrate"];

/**
 * Begins the call of the cells. Gives its outcome's text where it is over, or a promise. One that is kept already has `settleCall` called at
 * once, since to await it costs as much as all the rest of a short call. Others come to `awaitCall`.
 */
function beginCall(name, caller, parameters) {
  const call = { __proto__: null, id: cells[ID], kind: KINDS[cells[KIND]], name, caller, isAnswered: false };
  openCalls.set(call.id, call);
  if (armedOp === 0 && timers.length > 0) arm();
  current = call;
  isCertain = true;
  let result;
  let error;
  let outcome = FAILED;
  try {
    result = dispatch(call, jsonParse(parameters));
    outcome = isThenable(result) ? PROMISED : DONE;
  } catch (thrown) {
    error = thrown;
  }
  isCertain = false;
  cells[OUTCOME] = outcome;
  if (outcome === PROMISED) return result;
  return outcome === DONE ? settleCall(call, result) : failCall(call, error);
}

/** Whether it is a promise, whatever a plugin did to those, or has a `then`. */
function isThenable(value) {
  if ((typeof value !== "object" || value === null) && typeof value !== "function") return false;
  return objectPrototype(value) === promisePrototype || typeof value.then === "function";
}

/** The text of the call's outcome with this result. */
function settleCall(call, result) {
  try {
    const text = resultText(result);
    cells[OUTCOME] = DONE;
    closeCall(call);
    return text;
  } catch (error) {
    return failCall(call, error);
  }
}

function failCall(call, error) {
  cells[OUTCOME] = FAILED;
  closeCall(call);
  try {
    return failureOfError(error, call.kind, call.name);
  } catch {
    // There is no memory or stack left to look at it.
    return UNKNOWN;
  }
}

const UNKNOWN = failureText("the call failed, and its error cannot be told", "error");

function closeCall(call) {
  openCalls.delete(call.id);
  call.isAnswered = true;
}

/** Outcomes that the host has not taken: the first, which is an empty one, and the last of a chain. */
let firstOutcome = { __proto__: null, next: null };
let lastOutcome = firstOutcome;

/** Has the current call wait for a promise. It is awaited, not asked for its `then`, which a plugin may have replaced. */
async function awaitCall(promise) {
  const call = current;
  let settle = settleCall;
  let value;
  try {
    value = await promise;
  } catch (error) {
    settle = failCall;
    value = error;
  }
  if (call.isAnswered) {
    openCalls.delete(call.id);
    return;
  }
  const text = settle(call, value);
  lastOutcome = lastOutcome.next = { __proto__: null, id: call.id, outcome: cells[OUTCOME], text, next: null };
  // The host looks there after each job.
  cells[OUTCOMES_LEFT]++;
}

/** The text of the next outcome; the rest of it lies in the cells. */
function takeOutcome() {
  firstOutcome = firstOutcome.next;
  const { id, outcome, text } = firstOutcome;
  firstOutcome.text = "";
  cells[ID] = id;
  cells[OUTCOME] = outcome;
  cells[OUTCOMES_LEFT]--;
  return text;
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
  // Nothing was thrown in the plugin.
  if (!isFailure(error) || error.code !== "unknown_function") logError(`${kind} \`${name}\` failed`, error);
  const failure = isFailure(error) ? error : failureTold(error);
  const code = failure !== null && typeof failure.code === "string" ? failure.code : "error";
  return failureText(errorWords(error), code, failure !== null && failure.retryable === true);
}

/**
 * The caller of the call of the cells has been answered: its outcome is dropped. What it began goes on, since other calls may wait for
 * the same promises; the host bounds each op.
 */
function cancelCall() {
  const call = openCalls.get(cells[ID]);
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
