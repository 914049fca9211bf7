// `Event`, `EventTarget`, `AbortController` and `AbortSignal`, as far as programs without a page use them.

class Event {
  #isPrevented = false;
  /** Whether a listener has said that the others are not to be called. */
  isStopped = false;

  constructor(type, options = {}) {
    this.type = `${type}`;
    this.cancelable = !!options?.cancelable;
    this.target = null;
    this.timeStamp = host("monotonic") - began;
    objectDefine(this, "isStopped", { __proto__: null, enumerable: false });
  }

  get defaultPrevented() {
    return this.#isPrevented;
  }

  preventDefault() {
    if (this.cancelable) this.#isPrevented = true;
  }

  stopImmediatePropagation() {
    this.isStopped = true;
  }
}

let notify;

class EventTarget {
  #listeners = [];

  static {
    notify = (target, event) => {
      event.target = target;
      const own = target[`on${event.type}`];
      if (typeof own === "function") callListener(own, target, event);
      const listeners = arraySlice(target.#listeners);
      for (let at = 0; at < listeners.length && !event.isStopped; at++) {
        const { type, listener, isOnce } = listeners[at];
        if (type !== event.type || !arrayIncludes(target.#listeners, listeners[at])) continue;
        if (isOnce) arraySplice(target.#listeners, arrayIndexOf(target.#listeners, listeners[at]), 1);
        callListener(listener, target, event);
      }
      return !event.defaultPrevented;
    };
  }

  addEventListener(type, listener, options = undefined) {
    if (listener === null || listener === undefined) return;
    for (let at = 0; at < this.#listeners.length; at++) {
      if (this.#listeners[at].type === `${type}` && this.#listeners[at].listener === listener) return;
    }
    if (options?.signal?.aborted) return;
    arrayPush(this.#listeners, { __proto__: null, type: `${type}`, listener, isOnce: !!options?.once });
    if (options?.signal) onAbort(options.signal, () => this.removeEventListener(type, listener));
  }

  removeEventListener(type, listener) {
    for (let at = 0; at < this.#listeners.length; at++) {
      if (this.#listeners[at].type !== `${type}` || this.#listeners[at].listener !== listener) continue;
      arraySplice(this.#listeners, at, 1);
      return;
    }
  }

  dispatchEvent(event) {
    if (!(event instanceof Event)) throw new TypeError(`what is dispatched must be an \`Event\`, not ${kindOf(event)}`);
    return notify(this, event);
  }
}

function callListener(listener, target, event) {
  try {
    if (typeof listener === "function") apply(listener, target, [event]);
    else listener.handleEvent(event);
  } catch (error) {
    logError(`a listener of \`${event.type}\` failed`, error);
  }
}

let abort, onAbort, isSignal;
const MAKING = {};

class AbortSignal extends EventTarget {
  #isAborted = false;
  #reason = undefined;
  /** What the boot set itself does when it is aborted. */
  #actions = [];
  onabort = null;

  static {
    isSignal = (value) => typeof value === "object" && value !== null && #isAborted in value;
    abort = (signal, reason) => {
      if (signal.#isAborted) return;
      signal.#isAborted = true;
      signal.#reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      const actions = signal.#actions;
      signal.#actions = [];
      for (let at = 0; at < actions.length; at++) actions[at](signal.#reason);
      notify(signal, new Event("abort"));
    };
    onAbort = (signal, action) => {
      if (signal.#isAborted) action(signal.#reason);
      else arrayPush(signal.#actions, action);
      return () => {
        const at = arrayIndexOf(signal.#actions, action);
        if (at >= 0) arraySplice(signal.#actions, at, 1);
      };
    };
  }

  constructor(making) {
    super();
    if (making !== MAKING) throw new TypeError("a signal comes from an `AbortController`, `AbortSignal.timeout` or `AbortSignal.any`");
  }

  get aborted() {
    return this.#isAborted;
  }

  get reason() {
    return this.#reason;
  }

  throwIfAborted() {
    if (this.#isAborted) throw this.#reason;
  }

  static abort(reason) {
    const signal = new AbortSignal(MAKING);
    abort(signal, reason);
    return signal;
  }

  static timeout(delay) {
    const signal = new AbortSignal(MAKING);
    const wait = milliseconds(delay, "a timeout");
    addTimer(++lastTimer, wait, null, () => abort(signal, new DOMException("The operation was aborted due to timeout", "TimeoutError")), runningCall());
    return signal;
  }

  static any(signals) {
    const signal = new AbortSignal(MAKING);
    for (const each of signals) {
      if (!isSignal(each)) throw new TypeError(`\`AbortSignal.any\` takes signals, not ${kindOf(each)}`);
      onAbort(each, (reason) => abort(signal, reason));
    }
    return signal;
  }
}

class AbortController {
  #signal = new AbortSignal(MAKING);

  get signal() {
    return this.#signal;
  }

  abort(reason) {
    abort(this.#signal, reason);
  }
}

provide("Event", Event);
provide("EventTarget", EventTarget);
provide("AbortSignal", AbortSignal);
provide("AbortController", AbortController);
