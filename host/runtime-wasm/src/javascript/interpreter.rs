//! One interpreter with a plugin in it, and the ways into that: each runs a function of the boot script, and then every job
//! that promises have left behind.

use super::abi::{Abi, Cx, Value, function};
use super::{BOOT, BOOT_NAME, Rejection, Session, words};
use crate::bindings::mortise::plugin::types as wit;
use crate::guest::{CROSSING_BYTES_MAX, GuestCall};
use crate::ops::OpOutcome;
use crate::outcome;
use crate::view::{Source, State};
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;
use wasmtime::{AsContextMut as _, Error, InstancePre, Result, Store, Trap};

/// How deep JavaScript may recurse, by the stack in the interpreter's own memory: half of what there is, so that the
/// interpreter's own functions, which do not look, have the other half.
const STACK_BYTES: u32 = 512 << 10;

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
    load: Value,
    describe: Value,
    call: Value,
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
        let guest = match program.boot.get() {
            Some(boot) => abi.run(cx, boot).await?,
            // By an interpreter that knows nothing of any plugin.
            None => {
                let boot = abi.compile(cx, BOOT_NAME, BOOT).await?;
                abi.run(cx, program.boot.get_or_init(|| boot)).await?
            }
        };
        let interpreter = Self {
            load: abi.property(cx, guest, "load").await?,
            describe: abi.property(cx, guest, "describe").await?,
            call: abi.property(cx, guest, "call").await?,
            deliver: abi.property(cx, guest, "deliver").await?,
            cancel: abi.property(cx, guest, "cancel").await?,
            rejected: abi.property(cx, guest, "rejected").await?,
            abi,
        };
        interpreter.settle(cx).await?;
        Ok(interpreter)
    }

    /// Reads the plugin's modules, and says what they bring.
    pub(crate) async fn describe(
        &mut self,
        store: &mut Store<State>,
    ) -> Result<std::result::Result<wit::Description, wit::Failure>> {
        let cx = &mut store.as_context_mut();
        let Source::Modules(modules) = &cx.data().host.shared.source else {
            return Err(Error::msg("the plugin has no modules"));
        };
        let entry_point = modules.entry_point.clone();
        let arguments = [self.abi.new_text(cx, &entry_point).await?];
        self.enter(cx, self.load, &arguments).await?;
        let described = self.text(cx, self.describe).await?.ok_or_else(|| Error::msg("it describes nothing"))?;
        match told(&described)? {
            Ok(description) => words::description(description).map(Ok),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Begins a call, which answers by `complete`, before this turn ends or later.
    pub(crate) async fn call(&mut self, store: &mut Store<State>, call: GuestCall<'_>) -> Result<()> {
        let cx = &mut store.as_context_mut();
        let GuestCall { id, kind, name, parameters, context } = call;
        let arguments = [
            self.id(cx, id).await?,
            self.abi.new_text(cx, kind_name(kind)).await?,
            self.abi.new_text(cx, name).await?,
            self.abi.new_text(cx, parameters).await?,
            self.abi.new_text(cx, &words::context(&context)).await?,
        ];
        self.enter(cx, self.call, &arguments).await
    }

    pub(crate) async fn deliver(&mut self, store: &mut Store<State>, op: u64, outcome: OpOutcome) -> Result<()> {
        let cx = &mut store.as_context_mut();
        let (ok, kind, json, body) = match outcome {
            OpOutcome::Done => (1.0, "done", String::new(), None),
            OpOutcome::Json(json) => (1.0, "json", json.into_string(), None),
            OpOutcome::Http(response) => (1.0, "http", words::response(&response), Some(response.body)),
            OpOutcome::Failed(failure) => (0.0, "failure", words::failure_text(outcome::to_guest(failure)), None),
        };
        let mut arguments = vec![
            self.id(cx, op).await?,
            self.abi.new_number(cx, ok).await?,
            self.abi.new_text(cx, kind).await?,
            self.abi.new_text(cx, &json).await?,
        ];
        if let Some(body) = body {
            arguments.push(self.abi.new_bytes(cx, &body).await?);
        }
        self.enter(cx, self.deliver, &arguments).await
    }

    pub(crate) async fn cancel(&mut self, store: &mut Store<State>, call: u64) -> Result<()> {
        let cx = &mut store.as_context_mut();
        let arguments = [self.id(cx, call).await?];
        self.enter(cx, self.cancel, &arguments).await
    }

    #[expect(clippy::cast_precision_loss, reason = "no instance lives for as many calls as a double can tell apart")]
    async fn id(&self, cx: &mut Cx<'_>, id: u64) -> Result<Value> {
        self.abi.new_number(cx, id as f64).await
    }

    async fn enter(&self, cx: &mut Cx<'_>, entry: Value, arguments: &[Value]) -> Result<()> {
        let value = self.abi.call(cx, entry, arguments).await?;
        self.abi.free(cx, value).await?;
        self.settle(cx).await
    }

    /// What an entry without arguments gives, where that is anything.
    async fn text(&self, cx: &mut Cx<'_>, entry: Value) -> Result<Option<String>> {
        let value = self.abi.call(cx, entry, &[]).await?;
        self.settle(cx).await?;
        let text = if self.abi.is_nothing(cx, value).await? {
            None
        } else {
            let text = self.abi.text(cx, value, CROSSING_BYTES_MAX).await?;
            Some(text.map_err(|_| Error::msg("it describes itself in more words than may cross"))?)
        };
        self.abi.free(cx, value).await?;
        Ok(text)
    }

    /// Runs jobs until there are none, within the turn's limit: an endless chain of promises never ends by itself. An instance that
    /// was refused memory meanwhile is given up; what it has answered stays answered.
    async fn settle(&self, cx: &mut Cx<'_>) -> Result<()> {
        loop {
            while self.abi.execute_job(cx).await? {
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
                let value = self.abi.call(cx, self.rejected, &[reason]).await?;
                self.abi.free(cx, value).await?;
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

fn kind_name(kind: wit::CallKind) -> &'static str {
    match kind {
        wit::CallKind::Function => "function",
        wit::CallKind::Routine => "routine",
        wit::CallKind::Event => "event",
        wit::CallKind::Start => "start",
        wit::CallKind::Stop => "stop",
        wit::CallKind::SelfTest => "self-test",
        wit::CallKind::Migrate => "migrate",
    }
}
