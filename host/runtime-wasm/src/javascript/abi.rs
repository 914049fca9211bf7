//! The interpreter's own interface: values behind pointers, text and bytes in its memory. Whatever is read there comes from a
//! guest: a pointer that leads nowhere is an error, and that is the end of the instance.

use crate::view::State;
use wasmtime::{
    AsContextMut as _, Error, Instance, Memory, Result, StoreContextMut, TypedFunc, WasmParams, WasmResults,
};

/// A store with an interpreter in it, from outside or from within one of the host's functions.
pub(super) type Cx<'a> = StoreContextMut<'a, State>;

/// A value of the interpreter's. It is kept until it is freed, or for good where the instance is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value(u32);

/// Text up to this length crosses through memory that is set aside for it.
const SCRATCH_BYTES: usize = 16 << 10;

/// The most arguments that any entry has.
const ARGUMENTS_MAX: usize = 8;

/// A word of the interpreter's memory.
const WORD_BYTES: usize = 4;

/// A number of JavaScript in its memory.
const NUMBER_BYTES: usize = 8;

/// What of the module is used, and what was set aside in its memory.
#[derive(Clone)]
pub(crate) struct Abi {
    memory: Memory,
    malloc: TypedFunc<u32, u32>,
    free: TypedFunc<u32, ()>,
    free_value: TypedFunc<u32, ()>,
    free_text: TypedFunc<u32, ()>,
    new_text: TypedFunc<(u32, u32), u32>,
    new_number: TypedFunc<f64, u32>,
    new_bytes: TypedFunc<(u32, u32), u32>,
    new_function: TypedFunc<(u32, u32, i32), u32>,
    new_error: TypedFunc<(), u32>,
    undefined: TypedFunc<(), u32>,
    null: TypedFunc<(), u32>,
    global: TypedFunc<(), u32>,
    is_exception: TypedFunc<u32, i32>,
    is_text: TypedFunc<u32, i32>,
    is_number: TypedFunc<u32, i32>,
    is_undefined: TypedFunc<u32, i32>,
    is_null: TypedFunc<u32, i32>,
    promise_state: TypedFunc<u32, i32>,
    promise_result: TypedFunc<u32, u32>,
    text: TypedFunc<(u32, u32), u32>,
    number: TypedFunc<u32, f64>,
    buffer_of_bytes: TypedFunc<(u32, u32, u32, u32), u32>,
    buffer: TypedFunc<(u32, u32), u32>,
    identity: TypedFunc<u32, u32>,
    property: TypedFunc<(u32, u32), u32>,
    set_property: TypedFunc<(u32, u32, u32), i32>,
    exception: TypedFunc<(), u32>,
    throw: TypedFunc<u32, u32>,
    compile: TypedFunc<(u32, u32, u32, u32, u32, u32), u32>,
    eval_bytecode: TypedFunc<(u32, u32), u32>,
    call: TypedFunc<(u32, u32, u32, u32), u32>,
    execute_job: TypedFunc<(), i32>,
    scratch: u32,
    arguments: u32,
    this: Value,
}

impl Abi {
    /// Of an interpreter that was set up.
    pub(super) async fn new(cx: &mut Cx<'_>, instance: &Instance) -> Result<Self> {
        let memory = instance.get_memory(&mut *cx, "memory").ok_or_else(|| Error::msg("it has no memory"))?;
        let malloc: TypedFunc<u32, u32> = function(cx, instance, "wasm_malloc")?;
        let scratch = allocate(cx, &malloc, SCRATCH_BYTES + 1).await?;
        let arguments = allocate(cx, &malloc, ARGUMENTS_MAX * WORD_BYTES).await?;
        let undefined: TypedFunc<(), u32> = function(cx, instance, "qjs_get_undefined")?;
        let this = Value::new(undefined.call_async(&mut *cx, ()).await?)?;
        Ok(Self {
            memory,
            malloc,
            free: function(cx, instance, "wasm_free")?,
            free_value: function(cx, instance, "qjs_free_value")?,
            free_text: function(cx, instance, "qjs_free_cstring")?,
            new_text: function(cx, instance, "qjs_new_string")?,
            new_number: function(cx, instance, "qjs_new_number")?,
            new_bytes: function(cx, instance, "qjs_new_uint8_array")?,
            new_function: function(cx, instance, "qjs_new_host_function")?,
            new_error: function(cx, instance, "qjs_new_error")?,
            undefined,
            null: function(cx, instance, "qjs_get_null")?,
            global: function(cx, instance, "qjs_get_global")?,
            is_exception: function(cx, instance, "qjs_is_exception")?,
            is_text: function(cx, instance, "qjs_is_string")?,
            is_number: function(cx, instance, "qjs_is_number")?,
            is_undefined: function(cx, instance, "qjs_is_undefined")?,
            is_null: function(cx, instance, "qjs_is_null")?,
            promise_state: function(cx, instance, "qjs_promise_state")?,
            promise_result: function(cx, instance, "qjs_promise_result")?,
            text: function(cx, instance, "qjs_get_string_len")?,
            number: function(cx, instance, "qjs_get_float64")?,
            buffer_of_bytes: function(cx, instance, "qjs_get_typed_array_buffer")?,
            buffer: function(cx, instance, "qjs_get_array_buffer")?,
            identity: function(cx, instance, "qjs_get_value_ptr")?,
            property: function(cx, instance, "qjs_get_prop_string")?,
            set_property: function(cx, instance, "qjs_set_prop_string")?,
            exception: function(cx, instance, "qjs_get_exception")?,
            throw: function(cx, instance, "qjs_throw")?,
            compile: function(cx, instance, "qjs_compile")?,
            eval_bytecode: function(cx, instance, "qjs_eval_bytecode")?,
            call: function(cx, instance, "qjs_call")?,
            execute_job: function(cx, instance, "qjs_execute_pending_job")?,
            scratch,
            arguments,
            this,
        })
    }

    pub(super) async fn undefined(&self, cx: &mut Cx<'_>) -> Result<Value> {
        Value::new(self.undefined.call_async(&mut *cx, ()).await?)
    }

    pub(super) async fn null(&self, cx: &mut Cx<'_>) -> Result<Value> {
        Value::new(self.null.call_async(&mut *cx, ()).await?)
    }

    pub(super) async fn new_number(&self, cx: &mut Cx<'_>, number: f64) -> Result<Value> {
        Value::new(self.new_number.call_async(&mut *cx, number).await?)
    }

    /// Where there is no memory for it, what it is used for throws, as that of the two below.
    pub(super) async fn new_text(&self, cx: &mut Cx<'_>, text: &str) -> Result<Value> {
        let at = self.put(cx, text.as_bytes()).await?;
        let value = self.new_text.call_async(&mut *cx, (at, length(text.len())?)).await?;
        self.taken(cx, at).await?;
        Value::new(value)
    }

    pub(super) async fn new_bytes(&self, cx: &mut Cx<'_>, bytes: &[u8]) -> Result<Value> {
        let at = self.put(cx, bytes).await?;
        let value = self.new_bytes.call_async(&mut *cx, (at, length(bytes.len())?)).await?;
        self.taken(cx, at).await?;
        Value::new(value)
    }

    /// A function of the host's of that name.
    pub(super) async fn new_function(&self, cx: &mut Cx<'_>, name: &str) -> Result<Value> {
        let at = self.put(cx, name.as_bytes()).await?;
        let value = self.new_function.call_async(&mut *cx, (at, length(name.len())?, 0)).await?;
        self.sound(cx, Value::new(value)?).await
    }

    pub(super) async fn free(&self, cx: &mut Cx<'_>, value: Value) -> Result<()> {
        self.free_value.call_async(&mut *cx, value.0).await
    }

    pub(super) async fn global(&self, cx: &mut Cx<'_>) -> Result<Value> {
        Value::new(self.global.call_async(&mut *cx, ()).await?)
    }

    pub(super) async fn property(&self, cx: &mut Cx<'_>, of: Value, name: &str) -> Result<Value> {
        let at = self.put(cx, name.as_bytes()).await?;
        let value = self.property.call_async(&mut *cx, (of.0, at)).await?;
        self.sound(cx, Value::new(value)?).await
    }

    pub(super) async fn set_property(&self, cx: &mut Cx<'_>, of: Value, name: &str, value: Value) -> Result<()> {
        let at = self.put(cx, name.as_bytes()).await?;
        match self.set_property.call_async(&mut *cx, (of.0, at, value.0)).await? {
            0.. => Ok(()),
            _ => Err(self.thrown(cx).await?),
        }
    }

    /// Whether it is undefined or null.
    pub(super) async fn is_nothing(&self, cx: &mut Cx<'_>, value: Value) -> Result<bool> {
        Ok(self.is_undefined.call_async(&mut *cx, value.0).await? != 0
            || self.is_null.call_async(&mut *cx, value.0).await? != 0)
    }

    pub(super) async fn is_text(&self, cx: &mut Cx<'_>, value: Value) -> Result<bool> {
        Ok(self.is_text.call_async(&mut *cx, value.0).await? != 0)
    }

    pub(super) async fn is_number(&self, cx: &mut Cx<'_>, value: Value) -> Result<bool> {
        Ok(self.is_number.call_async(&mut *cx, value.0).await? != 0)
    }

    pub(super) async fn number(&self, cx: &mut Cx<'_>, value: Value) -> Result<f64> {
        self.number.call_async(&mut *cx, value.0).await
    }

    /// As text, or how many bytes it has where those are more than `bytes_max`. What is no Unicode in it is replaced, by
    /// more bytes than it had.
    pub(super) async fn text(&self, cx: &mut Cx<'_>, value: Value, bytes_max: usize) -> Result<Result<String, usize>> {
        let at = self.text.call_async(&mut *cx, (value.0, self.scratch)).await?;
        if at == 0 {
            return Err(self.thrown(cx).await?);
        }
        let size = usize::try_from(self.word(cx, self.scratch)?)?;
        let text = if size <= bytes_max {
            let text = String::from_utf8_lossy(self.slice(cx, at, size)?);
            if text.len() <= bytes_max { Ok(text.into_owned()) } else { Err(text.len()) }
        } else {
            Err(size)
        };
        self.free_text.call_async(&mut *cx, at).await?;
        Ok(text)
    }

    /// What the promise was kept with, if it is one and was kept.
    pub(super) async fn result(&self, cx: &mut Cx<'_>, promise: Value) -> Result<Option<Value>> {
        const FULFILLED: i32 = 1;
        if self.promise_state.call_async(&mut *cx, promise.0).await? != FULFILLED {
            return Ok(None);
        }
        Value::new(self.promise_result.call_async(&mut *cx, promise.0).await?).map(Some)
    }

    /// The bytes of a `Uint8Array`, unless they are more than `bytes_max`.
    pub(super) async fn bytes(&self, cx: &mut Cx<'_>, value: Value, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let (at, size) = self.place(cx, value).await?;
        if size > bytes_max {
            return Ok(None);
        }
        if size == 0 { Ok(Some(Vec::new())) } else { Ok(Some(self.slice(cx, at, size)?.to_vec())) }
    }

    /// Where the bytes of a `Uint8Array` lie as long as its buffer is what it is, and how many they are.
    pub(super) async fn place(&self, cx: &mut Cx<'_>, value: Value) -> Result<(u32, usize)> {
        let [offset, size, element] = [0, 1, 2].map(|index| self.scratch + index * WORD_BYTES as u32);
        let buffer = self.buffer_of_bytes.call_async(&mut *cx, (value.0, offset, size, element)).await?;
        let buffer = self.sound(cx, Value::new(buffer)?).await?;
        let (offset, size) = (self.word(cx, offset)?, usize::try_from(self.word(cx, size)?)?);
        let at = self.buffer.call_async(&mut *cx, (buffer.0, self.scratch)).await?;
        self.free(cx, buffer).await?;
        Ok((at.checked_add(offset).ok_or_else(astray)?, size))
    }

    /// A number where it lies in memory.
    pub(super) fn number_at(&self, cx: &mut Cx<'_>, at: u32) -> Result<f64> {
        let bytes = self.slice(cx, at, NUMBER_BYTES)?;
        bytes.first_chunk().map(|bytes| f64::from_le_bytes(*bytes)).ok_or_else(astray)
    }

    pub(super) fn set_number_at(&self, cx: &mut Cx<'_>, at: u32, number: f64) -> Result<()> {
        Ok(self.memory.write(&mut *cx, usize::try_from(at)?, &number.to_le_bytes())?)
    }

    /// Tells one object from every other.
    pub(super) async fn identity(&self, cx: &mut Cx<'_>, value: Value) -> Result<u32> {
        self.identity.call_async(&mut *cx, value.0).await
    }

    /// Compiles a script, without its text.
    pub(super) async fn compile(&self, cx: &mut Cx<'_>, name: &str, script: &str) -> Result<Vec<u8>> {
        const GLOBAL: u32 = 0;
        const STRIP_SOURCE: u32 = 1 << 4;
        let source = self.keep(cx, script.as_bytes()).await?;
        let name = self.keep(cx, name.as_bytes()).await?;
        let script = (source, length(script.len())?, name, GLOBAL, STRIP_SOURCE, self.scratch);
        let at = self.compile.call_async(&mut *cx, script).await?;
        if at == 0 {
            return Err(self.thrown(cx).await?);
        }
        let size = usize::try_from(self.word(cx, self.scratch)?)?;
        let bytecode = self.slice(cx, at, size)?.to_vec();
        for memory in [at, source, name] {
            self.free.call_async(&mut *cx, memory).await?;
        }
        Ok(bytecode)
    }

    /// Runs what [`Abi::compile`] gave, which throws nothing.
    pub(super) async fn run(&self, cx: &mut Cx<'_>, bytecode: &[u8]) -> Result<Value> {
        let at = self.keep(cx, bytecode).await?;
        let value = self.eval_bytecode.call_async(&mut *cx, (at, length(bytecode.len())?)).await?;
        self.free.call_async(&mut *cx, at).await?;
        self.sound(cx, Value::new(value)?).await
    }

    /// Calls a function. What it gives is to be looked at by [`Abi::sound`] where nothing else tells that it threw nothing.
    pub(super) async fn call(&self, cx: &mut Cx<'_>, function: Value, arguments: &[Value]) -> Result<Value> {
        let count = arguments.len();
        if count > ARGUMENTS_MAX {
            return Err(Error::msg("an entry has more arguments than any"));
        }
        let words: Vec<u8> = arguments.iter().flat_map(|value| value.0.to_le_bytes()).collect();
        self.memory.write(&mut *cx, usize::try_from(self.arguments)?, &words)?;
        let call = (function.0, self.this.0, length(count)?, self.arguments);
        Value::new(self.call.call_async(&mut *cx, call).await?)
    }

    /// Runs the next of the jobs that promises have left behind. Whether there was one.
    pub(super) async fn execute_job(&self, cx: &mut Cx<'_>) -> Result<bool> {
        match self.execute_job.call_async(&mut *cx, ()).await? {
            0 => Ok(false),
            1.. => Ok(true),
            _ => Err(self.thrown(cx).await?),
        }
    }

    /// Has the function that called the host throw an error.
    pub(super) async fn throw(&self, cx: &mut Cx<'_>, message: &str) -> Result<()> {
        let error = self.new_error.call_async(&mut *cx, ()).await?;
        let error = self.sound(cx, Value::new(error)?).await?;
        let text = self.new_text(cx, message).await?;
        self.set_property(cx, error, "message", text).await?;
        self.free(cx, text).await?;
        self.throw.call_async(&mut *cx, error.0).await?;
        self.free(cx, error).await
    }

    /// The values that a function of the host's is called with.
    pub(super) fn arguments(&self, cx: &mut Cx<'_>, count: u32, at: u32) -> Result<Vec<Value>> {
        let count = usize::try_from(count)?;
        if count > ARGUMENTS_MAX {
            return Err(Error::msg(format!("the host was called with {count} arguments")));
        }
        let words = self.slice(cx, at, count * WORD_BYTES)?;
        words.chunks_exact(WORD_BYTES).map(|word| Value::new(le_word(word)?)).collect()
    }

    /// Text that ends with a zero byte; of what is longer than any name, as much as shows that.
    pub(super) fn name(&self, cx: &mut Cx<'_>, at: u32) -> Result<String> {
        const NAME_BYTES_MAX: usize = 4096;
        let memory = self.memory.data(&*cx).get(usize::try_from(at)?..).ok_or_else(astray)?;
        let name = memory.iter().take(NAME_BYTES_MAX).take_while(|byte| **byte != 0).count();
        let name = memory.get(..name).ok_or_else(astray)?;
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// Text in memory of its own, with a zero byte at its end, for the interpreter to free.
    pub(super) async fn keep(&self, cx: &mut Cx<'_>, text: &[u8]) -> Result<u32> {
        let at = allocate(cx, &self.malloc, text.len() + 1).await?;
        self.write(cx, at, text)?;
        Ok(at)
    }

    pub(super) fn set_word(&self, cx: &mut Cx<'_>, at: u32, word: u32) -> Result<()> {
        Ok(self.memory.write(&mut *cx, usize::try_from(at)?, &word.to_le_bytes())?)
    }

    /// Puts bytes where the interpreter reads them, until [`Abi::taken`] or the next that are put.
    async fn put(&self, cx: &mut Cx<'_>, bytes: &[u8]) -> Result<u32> {
        if bytes.len() > SCRATCH_BYTES {
            return self.keep(cx, bytes).await;
        }
        self.write(cx, self.scratch, bytes)?;
        Ok(self.scratch)
    }

    async fn taken(&self, cx: &mut Cx<'_>, at: u32) -> Result<()> {
        if at == self.scratch { Ok(()) } else { self.free.call_async(&mut *cx, at).await }
    }

    fn write(&self, cx: &mut Cx<'_>, at: u32, bytes: &[u8]) -> Result<()> {
        let at = usize::try_from(at)?;
        self.memory.write(&mut *cx, at, bytes)?;
        Ok(self.memory.write(&mut *cx, at.saturating_add(bytes.len()), &[0])?)
    }

    fn slice<'a>(&self, cx: &'a mut Cx<'_>, at: u32, size: usize) -> Result<&'a [u8]> {
        let at = usize::try_from(at)?;
        let end = at.checked_add(size).ok_or_else(astray)?;
        self.memory.data(&*cx).get(at..end).ok_or_else(astray)
    }

    fn word(&self, cx: &mut Cx<'_>, at: u32) -> Result<u32> {
        le_word(self.slice(cx, at, WORD_BYTES)?)
    }

    /// The value, or what was thrown in its place.
    pub(super) async fn sound(&self, cx: &mut Cx<'_>, value: Value) -> Result<Value> {
        if self.is_exception.call_async(&mut *cx, value.0).await? == 0 {
            Ok(value)
        } else {
            Err(self.thrown(cx).await?)
        }
    }

    /// What was thrown where nothing should be: memory has run out, as a rule.
    pub(super) async fn thrown(&self, cx: &mut Cx<'_>) -> Result<Error> {
        const BYTES_MAX: usize = 1024;
        let exception = Value::new(self.exception.call_async(&mut *cx, ()).await?)?;
        let at = self.text.call_async(&mut *cx, (exception.0, self.scratch)).await?;
        if at == 0 {
            return Ok(no_memory());
        }
        let size = usize::try_from(self.word(cx, self.scratch)?)?.min(BYTES_MAX);
        let text = String::from_utf8_lossy(self.slice(cx, at, size)?).into_owned();
        Ok(Error::msg(format!("the interpreter failed: {text}")))
    }
}

impl Value {
    /// None where the interpreter had no memory for it.
    pub(super) fn new(pointer: u32) -> Result<Self> {
        if pointer == 0 { Err(no_memory()) } else { Ok(Self(pointer)) }
    }

    /// As the interpreter takes it over.
    pub(super) fn pointer(self) -> u32 {
        self.0
    }
}

/// A function that the module exports.
pub(super) fn function<P: WasmParams, R: WasmResults>(
    cx: &mut Cx<'_>,
    instance: &Instance,
    name: &str,
) -> Result<TypedFunc<P, R>> {
    instance.get_typed_func(cx.as_context_mut(), name)
}

async fn allocate(cx: &mut Cx<'_>, malloc: &TypedFunc<u32, u32>, size: usize) -> Result<u32> {
    match malloc.call_async(&mut *cx, length(size)?).await? {
        0 => Err(no_memory()),
        at => Ok(at),
    }
}

fn length(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| no_memory())
}

fn le_word(bytes: &[u8]) -> Result<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(astray)
}

fn no_memory() -> Error {
    Error::msg("the interpreter has no memory left")
}

fn astray() -> Error {
    Error::msg("the interpreter points beyond its memory")
}
