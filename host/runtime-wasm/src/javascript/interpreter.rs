//! One interpreter with a plugin in it, and the ways into that: each runs a function of the boot script, and then every job
//! that promises have left behind.

use super::abi::{Abi, Cx, Value, function};
use super::cells::{Cell, Cells, Told};
use super::{BOOT, BOOT_NAME, Rejection, Session, words};
use crate::bindings::mortise::plugin::host::Host as _;
use crate::bindings::mortise::plugin::types as wit;
use crate::guest::{CROSSING_BYTES_MAX, GuestCall};
use crate::ops::OpOutcome;
use crate::outcome;
use crate::view::State;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;
use wasmtime::{AsContextMut as _, Error, InstancePre, Result, Store, Trap};

/// How deep JavaScript may recurse, by the stack in the interpreter's own memory: half of what there is, so that the
/// interpreter's own functions, which do not look, have the other half.
const STACK_BYTES: u32 = 512 << 10;

/// How many names are kept in an interpreter, so that they need not cross again, and how long these may be: callers choose theirs.
const NAMES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 256;

/// What interpreters are made of.
pub(crate) struct Program {
    module: InstancePre<State>,
    /// The boot script as the first of them compiled it.
    boot: OnceLock<Vec<u8>>,
}

impl Program {
    pub(crate) fn new(module: InstancePre<State>) -> Self {
        Self { module, boot: OnceLock::new() }
    }
}

/// The boot script's functions.
pub(crate) struct Interpreter {
    abi: Arc<Abi>,
    cells: Cells,
    null: Value,
    /// Of functions and callers.
    names: HashMap<Box<str>, Value>,
    load: Value,
    describe: Value,
    call: Value,
    settle: Value,
    wait: Value,
    take_outcome: Value,
    deliver: Value,
    cancel: Value,
    rejected: Value,
}

impl Interpreter {
    /// A fresh interpreter that has read nothing of the plugin yet.
    pub(crate) async fn new(store: &mut Store<State>, program: &Program) -> Result<Self> {
        let instance = program.module.instantiate_async(&mut *store).await?;
        let cx = &mut store.as_context_mut();
        function::<(), ()>(cx, &instance, "_initialize")?.call_async(&mut *cx, ()).await?;
        if function::<(), i32>(cx, &instance, "qjs_init")?.call_async(&mut *cx, ()).await? != 0 {
            return Err(Error::msg("the interpreter has no memory to begin with"));
        }
        for (setting, value) in [
            ("qjs_set_module_loader", 1),
            ("qjs_set_promise_rejection_handler", 1),
            ("qjs_set_max_stack_size", STACK_BYTES),
        ] {
            function::<u32, ()>(cx, &instance, setting)?.call_async(&mut *cx, value).await?;
        }
        let abi = Arc::new(Abi::new(cx, &instance).await?);
        cx.data_mut().javascript = Some(Session { abi: Arc::clone(&abi), rejections: Vec::new() });

        let (global, host) = (abi.global(cx).await?, abi.new_function(cx, "__host").await?);
        abi.set_property(cx, global, "__host", host).await?;
        abi.free(cx, host).await?;
        let (cells, bytes) = Cells::new(cx, &abi).await?;
        abi.set_property(cx, global, "__cells", bytes).await?;
        abi.free(cx, bytes).await?;
        let guest = match program.boot.get() {
            Some(boot) => abi.run(cx, boot).await?,
            // By an interpreter that knows nothing of any plugin.
            None => {
                let boot = abi.compile(cx, BOOT_NAME, BOOT).await?;
                abi.run(cx, program.boot.get_or_init(|| boot)).await?
            }
        };
        let interpreter = Self {
            cells,
            null: abi.null(cx).await?,
            names: HashMap::new(),
            load: abi.property(cx, guest, "load").await?,
            describe: abi.property(cx, guest, "describe").await?,
            call: abi.property(cx, guest, "call").await?,
            settle: abi.property(cx, guest, "settle").await?,
            wait: abi.property(cx, guest, "wait").await?,
            take_outcome: abi.property(cx, guest, "takeOutcome").await?,
            deliver: abi.property(cx, guest, "deliver").await?,
            cancel: abi.property(cx, guest, "cancel").await?,
            rejected: abi.property(cx, guest, "rejected").await?,
            abi,
        };
        interpreter.run_jobs(cx).await?;
        Ok(interpreter)
    }

    /// Reads the plugin's modules, and says what they bring.
    pub(crate) async fn describe(
        &mut self,
        store: &mut Store<State>,
    ) -> Result<std::result::Result<wit::Description, wit::Failure>> {
        let cx = &mut store.as_context_mut();
        let entry_point = super::modules_of(cx)?.entry_point.clone();
        let arguments = [self.abi.new_text(cx, &entry_point).await?];
        self.enter(cx, self.load, &arguments).await?;
        self.run_jobs(cx).await?;
        let described = self.text(cx, self.describe).await?;
        match told(&described)? {
            Ok(description) => words::description(description).map(Ok),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Begins a call, whose outcome the ledger has before this turn ends or later.
    pub(crate) async fn call(&mut self, store: &mut Store<State>, call: GuestCall<'_>) -> Result<()> {
        let cx = &mut store.as_context_mut();
        let GuestCall { id, kind, name, parameters, context } = call;
        self.forget_names(cx).await?;
        let (name, owned_name) = self.name(cx, name).await?;
        let (caller, owned_caller) = match context.caller {
            Some(caller) => self.name(cx, caller).await?,
            None => (self.null, None),
        };
        let parameters = self.abi.new_text(cx, parameters).await?;
        self.cells.set_id(cx, &self.abi, id)?;
        self.cells.set(cx, &self.abi, Cell::Kind, kind_number(kind))?;
        let (told, value) = self.tell(cx, self.call, &[name, caller, parameters]).await?;
        for value in [Some(parameters), owned_name, owned_caller].into_iter().flatten() {
            self.abi.free(cx, value).await?;
        }
        if told != Told::Promised {
            self.conclude(cx, id, told, value).await?;
        } else if let Some(result) = self.abi.result(cx, value).await? {
            let (told, text) = self.tell(cx, self.settle, &[result]).await?;
            self.conclude(cx, id, told, text).await?;
            self.abi.free(cx, result).await?;
            self.abi.free(cx, value).await?;
        } else {
            self.enter(cx, self.wait, &[value]).await?;
        }
        self.run_jobs(cx).await
    }

    pub(crate) async fn deliver(&mut self, store: &mut Store<State>, op: u64, outcome: OpOutcome) -> Result<()> {
        let cx = &mut store.as_context_mut();
        let (kind, json, body) = match outcome {
            OpOutcome::Done => (0, String::new(), None),
            OpOutcome::Json(json) => (1, json.into_string(), None),
            OpOutcome::Http(response) => (2, words::response(&response), Some(response.body)),
            OpOutcome::Failed(failure) => (3, words::failure_text(outcome::to_guest(failure)), None),
        };
        self.cells.set_id(cx, &self.abi, op)?;
        self.cells.set(cx, &self.abi, Cell::Kind, kind)?;
        let mut arguments = vec![self.abi.new_text(cx, &json).await?];
        if let Some(body) = body {
            arguments.push(self.abi.new_bytes(cx, &body).await?);
        }
        self.enter(cx, self.deliver, &arguments).await?;
        self.run_jobs(cx).await
    }

    pub(crate) async fn cancel(&mut self, store: &mut Store<State>, call: u64) -> Result<()> {
        let cx = &mut store.as_context_mut();
        self.cells.set_id(cx, &self.abi, call)?;
        self.enter(cx, self.cancel, &[]).await?;
        self.run_jobs(cx).await
    }
    /// A function or a caller, which come again and again; and what is to be freed of it, where it is not kept.
    async fn name(&mut self, cx: &mut Cx<'_>, name: &str) -> Result<(Value, Option<Value>)> {
        if let Some(value) = self.names.get(name) {
            return Ok((*value, None));
        }
        let value = self.abi.new_text(cx, name).await?;
        if name.len() > NAME_BYTES_MAX {
            return Ok((value, Some(value)));
        }
        self.names.insert(name.into(), value);
        Ok((value, None))
    }

    /// Begins anew with names where there are too many. To be called before those of a call.
    async fn forget_names(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        if self.names.len() >= NAMES_MAX {
            for (_, name) in self.names.drain() {
                self.abi.free(cx, name).await?;
            }
        }
        Ok(())
    }

    /// Calls an entry that gives nothing, and frees what it is given.
    async fn enter(&self, cx: &mut Cx<'_>, entry: Value, arguments: &[Value]) -> Result<()> {
        let value = self.ask(cx, entry, arguments).await?;
        self.abi.free(cx, value).await?;
        for argument in arguments {
            self.abi.free(cx, *argument).await?;
        }
        Ok(())
    }

    /// Calls an entry.
    async fn ask(&self, cx: &mut Cx<'_>, entry: Value, arguments: &[Value]) -> Result<Value> {
        let value = self.abi.call(cx, entry, arguments).await?;
        self.abi.sound(cx, value).await
    }

    /// Calls an entry that says what it gives.
    async fn tell(&self, cx: &mut Cx<'_>, entry: Value, arguments: &[Value]) -> Result<(Told, Value)> {
        self.cells.ask(cx, &self.abi)?;
        let value = self.abi.call(cx, entry, arguments).await?;
        match self.cells.told(cx, &self.abi)? {
            Some(told) => Ok((told, value)),
            None => Err(self.abi.thrown(cx).await?),
        }
    }

    /// What an entry without arguments gives, as text.
    async fn text(&self, cx: &mut Cx<'_>, entry: Value) -> Result<String> {
        let value = self.ask(cx, entry, &[]).await?;
        self.run_jobs(cx).await?;
        let text = self.abi.text(cx, value, CROSSING_BYTES_MAX).await?;
        self.abi.free(cx, value).await?;
        text.map_err(|_| Error::msg("it describes itself in more words than may cross"))
    }

    /// Hands a call's outcome over.
    async fn conclude(&self, cx: &mut Cx<'_>, call: u64, told: Told, text: Value) -> Result<()> {
        let limits = &cx.data().host.shared.limits;
        let bytes_max = if told == Told::Done { usize::try_from(limits.result.0)? } else { CROSSING_BYTES_MAX };
        let outcome = self.abi.text(cx, text, bytes_max).await?;
        self.abi.free(cx, text).await?;
        let host = &mut cx.data_mut().host;
        match outcome {
            Ok(json) if told == Told::Done => host.complete(call, Ok(json)),
            Ok(failure) => host.complete(call, Err(words::failure(&failure)?)),
            // It is not even copied.
            Err(size) => {
                let failure = outcome::result_too_large(size, &host.shared.limits);
                host.shared.ledger().complete(call, Err(failure));
            }
        }
        Ok(())
    }

    /// Hands over what calls have come to that had to wait.
    async fn take_outcomes(&self, cx: &mut Cx<'_>) -> Result<()> {
        while self.cells.get(cx, &self.abi, Cell::OutcomesLeft)? > 0 {
            let (told, text) = self.tell(cx, self.take_outcome, &[]).await?;
            let call = self.cells.get(cx, &self.abi, Cell::Id)?;
            self.conclude(cx, call, told, text).await?;
        }
        Ok(())
    }

    /// Runs jobs until there are none, within the turn's limit: an endless chain of promises never ends by itself. An instance that
    /// was refused memory meanwhile is given up; what it has answered stays answered.
    async fn run_jobs(&self, cx: &mut Cx<'_>) -> Result<()> {
        loop {
            while self.abi.execute_job(cx).await? {
                self.take_outcomes(cx).await?;
                if Instant::now() >= cx.data().host.turn_limit.end {
                    return Err(Trap::Interrupt.into());
                }
            }
            let Some(session) = &mut cx.data_mut().javascript else { return Ok(()) };
            let rejections = std::mem::take(&mut session.rejections);
            if rejections.is_empty() {
                break;
            }
            // To put a reason into words may run the plugin's own code.
            for Rejection { promise, reason, .. } in rejections {
                self.enter(cx, self.rejected, &[reason]).await?;
                self.abi.free(cx, promise).await?;
            }
        }
        // Without memory a promise may have been left unsettled, and a call that waits for it would never be answered.
        match cx.data().limiter.refusal() {
            Some(_) => Err(Error::msg("the interpreter was left without memory")),
            None => Ok(()),
        }
    }
}

/// What follows a `+`, or the failure that follows a `-`.
fn told(text: &str) -> Result<std::result::Result<&str, wit::Failure>> {
    match text.split_at_checked(1) {
        Some(("+", text)) => Ok(Ok(text)),
        Some(("-", failure)) => Ok(Err(words::failure(failure)?)),
        _ => Err(Error::msg("the boot script gives what is neither done nor failed")),
    }
}

/// Its place in `KINDS` of the boot script.
fn kind_number(kind: wit::CallKind) -> u32 {
    match kind {
        wit::CallKind::Function => 0,
        wit::CallKind::Routine => 1,
        wit::CallKind::Event => 2,
        wit::CallKind::Start => 3,
        wit::CallKind::Stop => 4,
        wit::CallKind::SelfTest => 5,
        wit::CallKind::Migrate => 6,
    }
}
