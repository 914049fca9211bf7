//! From the impl block to the plugin.

use crate::method::{Access, Method};
use crate::options::{Marker, Pace, Role};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use std::collections::BTreeSet;
use syn::spanned::Spanned;
use syn::{Error, Ident, ImplItem, ItemImpl, Result, TraitItemFn, Type};

pub(crate) fn plugin(attribute: &TokenStream, mut block: ItemImpl) -> Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new(attribute.span(), "`#[tenon::plugin]` takes no options"));
    }
    let plugin = plugin_type(&block)?;
    let mut methods = Vec::new();
    for item in &mut block.items {
        if let Some(method) = read(item)? {
            methods.push(method);
        }
    }
    check(&methods)?;
    let implementation = implementation(&plugin, &block.self_ty, &methods);
    let self_ty = &block.self_ty;
    Ok(quote! {
        #block

        #implementation

        // Where there are no exports, the plugin would seem to be used by nobody.
        #[cfg(not(target_family = "wasm"))]
        const _: () = ::tenon::__private::used::<#self_ty>();

        // The exports of the component. They exist in WebAssembly only: native tests need none.
        #[cfg(target_family = "wasm")]
        #[allow(missing_docs, clippy::all, reason = "generated")]
        const _: () = {
            type Component = ::tenon::__private::Component<#self_ty>;
            ::tenon::bindings::export!(Component with_types_in ::tenon::bindings);
        };
    })
}

fn plugin_type(block: &ItemImpl) -> Result<Ident> {
    if let Some((_, path, _)) = &block.trait_ {
        return Err(Error::new(path.span(), "`#[tenon::plugin]` goes on an inherent impl block: `impl Counter { … }`"));
    }
    if let Some(token) = &block.generics.lt_token {
        return Err(Error::new(token.span(), "a plugin cannot be generic"));
    }
    match &*block.self_ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.clone()),
        _ => None,
    }
    .ok_or_else(|| Error::new(block.self_ty.span(), "expected the name of a type"))
}

/// Reads a marked method and cleans it of what only the macro understands; an event gets its body.
fn read(item: &mut ImplItem) -> Result<Option<Method>> {
    match item {
        ImplItem::Fn(function) => {
            let Some(marker) = Marker::take(&mut function.attrs)? else { return Ok(None) };
            if marker.role == Role::Event {
                let message = "an event is declared without a body: `#[event] fn motion(&self, zone: String);`";
                return Err(Error::new(function.block.span(), message));
            }
            Method::read(marker, &function.attrs, &mut function.sig).map(Some)
        }
        // A method without a body is no Rust that `syn` has a name for.
        ImplItem::Verbatim(tokens) => {
            let Ok(mut function) = syn::parse2::<WithVisibility>(tokens.clone()) else { return Ok(None) };
            let Some(marker) = Marker::take(&mut function.declaration.attrs)? else { return Ok(None) };
            if marker.role != Role::Event {
                return Err(Error::new(function.declaration.sig.span(), "only an event is declared without a body"));
            }
            let declaration = &mut function.declaration;
            let method = Method::read(marker, &declaration.attrs, &mut declaration.sig)?;
            *tokens = emitter(&function, &method)?;
            Ok(Some(method))
        }
        _ => Ok(None),
    }
}

/// A method without a body, with its visibility, which trait items do not have.
struct WithVisibility {
    visibility: syn::Visibility,
    declaration: TraitItemFn,
}

impl syn::parse::Parse for WithVisibility {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(syn::Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let mut declaration = input.parse::<TraitItemFn>()?;
        declaration.attrs = attributes;
        Ok(Self { visibility, declaration })
    }
}

/// The method that emits an event.
fn emitter(function: &WithVisibility, method: &Method) -> Result<TokenStream> {
    let WithVisibility { visibility, declaration } = function;
    let (attributes, signature) = (&declaration.attrs, &declaration.sig);
    if signature.asyncness.is_some() || !matches!(signature.output, syn::ReturnType::Default) {
        return Err(Error::new(signature.span(), "emitting is not `async` and returns `tenon::Result<()>` by itself"));
    }
    let (ident, inputs, event) = (&signature.ident, &signature.inputs, method.name());
    let fields = method.parameters.iter().map(|parameter| {
        let (name, ident) = (&parameter.name, &parameter.ident);
        // What is not there is left out, not told as null (wire contract 8.1).
        match parameter.optional() {
            Some(_) => quote_spanned! {ident.span()=>
                if let ::std::option::Option::Some(value) = #ident {
                    __tenon_payload.insert(#name.into(), ::tenon::__private::to_value(value)?);
                }
            },
            None => quote_spanned! {ident.span()=>
                __tenon_payload.insert(#name.into(), ::tenon::__private::to_value(#ident)?);
            },
        }
    });
    Ok(quote! {
        #(#attributes)*
        #visibility fn #ident(#inputs) -> ::tenon::Result<()> {
            #[allow(unused_mut, reason = "an event may be empty")]
            let mut __tenon_payload = ::tenon::serde_json::Map::<::std::string::String, ::tenon::Value>::new();
            #(#fields)*
            ::tenon::emit(#event, &__tenon_payload)
        }
    })
}

fn check(methods: &[Method]) -> Result<()> {
    let mut taken = BTreeSet::new();
    for method in methods {
        let (role, span) = (method.marker.role, method.marker.span);
        let unique = match role {
            Role::Function | Role::Routine(_) | Role::Event | Role::On => (role_word(role), method.name()),
            Role::Init | Role::Start | Role::Stop | Role::SelfTest | Role::Migrate => (role_word(role), String::new()),
        };
        // Two methods under opposite conditions may well share a name.
        if method.conditions.is_empty() && !taken.insert(unique.clone()) {
            return Err(Error::new(span, format!("a second {} `{}`", unique.0, method.name())));
        }
        let takes_nothing = matches!(role, Role::Routine(_) | Role::Start | Role::Stop | Role::SelfTest);
        if takes_nothing && !method.parameters.is_empty() {
            return Err(Error::new(span, format!("a {} takes no parameters", role_word(role))));
        }
        if role == Role::Init {
            check_init(method)?;
        }
        if role == Role::Migrate {
            check_migrate(method)?;
        }
        if role == Role::On {
            check_on(method)?;
        }
        if role == Role::Event && method.parameters.iter().any(|parameter| parameter.default.is_some()) {
            return Err(Error::new(span, "parameters of an event have no defaults"));
        }
    }
    if !is_shared(methods) {
        return Ok(());
    }
    match methods.iter().find_map(|method| match (method.marker.role, method.receiver) {
        (Role::Event, _) => None,
        (_, Access::Exclusive(span)) => Some(span),
        _ => None,
    }) {
        None => Ok(()),
        Some(span) => Err(Error::new(
            span,
            "calls of this plugin overlap, since some of its methods are `async` or take `self: Rc<Self>`: \
             take `&self`, and keep what changes in a `Cell` or a `RefCell`",
        )),
    }
}

fn check_init(method: &Method) -> Result<()> {
    let plain = !method.is_async && matches!(method.receiver, Access::None) && method.parameters.len() <= 1;
    if plain && method.parameters.iter().all(|parameter| parameter.default.is_none()) {
        Ok(())
    } else {
        let message = "expected `fn new() -> …` or `fn new(config: Config) -> …`, giving `Self` or `Result<Self, E>`";
        Err(Error::new(method.ident.span(), message))
    }
}

fn check_migrate(method: &Method) -> Result<()> {
    let plain = !method.is_async && matches!(method.receiver, Access::None);
    let names: Vec<&str> = method.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    if plain && names == ["from", "to"] && method.parameters.iter().all(|parameter| parameter.default.is_none()) {
        Ok(())
    } else {
        let message = "expected `fn migrate(from: String, to: String) -> …`: there is no plugin yet";
        Err(Error::new(method.ident.span(), message))
    }
}

fn check_on(method: &Method) -> Result<()> {
    if method.parameters.len() == 3 && method.parameters.iter().all(|parameter| parameter.default.is_none()) {
        Ok(())
    } else {
        let message =
            "expected `fn …(&self, device: String, event: String, payload: Value)`, or any type that is read from JSON";
        Err(Error::new(method.ident.span(), message))
    }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Function => "function",
        Role::Routine(_) => "routine",
        Role::Event => "event",
        Role::On => "handler of events",
        Role::Init => "constructor",
        Role::Start => "start hook",
        Role::Stop => "stop hook",
        Role::SelfTest => "self-test",
        Role::Migrate => "migration",
    }
}

/// Whether calls may be suspended while they hold the plugin. If none can, each may have it to itself.
fn is_shared(methods: &[Method]) -> bool {
    methods.iter().any(|method| method.is_async || matches!(method.receiver, Access::Counted))
}

fn implementation(plugin: &Ident, self_ty: &Type, methods: &[Method]) -> TokenStream {
    let name = plugin.to_string();
    let shared = is_shared(methods);
    let (shared_type, make) = if shared {
        (quote!(::std::rc::Rc<Self>), quote!(::std::rc::Rc::new(plugin)))
    } else {
        (
            quote!(::std::rc::Rc<::std::cell::RefCell<Self>>),
            quote!(::std::rc::Rc::new(::std::cell::RefCell::new(plugin))),
        )
    };
    let create = create(methods);
    let described = methods.iter().map(describe);
    let migrate = methods.iter().filter(|method| method.marker.role == Role::Migrate).map(|method| {
        let (conditions, outcome) = (&method.conditions, method.migrate(plugin));
        quote!(#(#conditions)* { return #outcome; })
    });
    let arms = methods.iter().filter_map(|method| {
        let name = method.name();
        let pattern = match method.marker.role {
            Role::Function => quote!((::tenon::__private::CallKind::Function, #name)),
            Role::Routine(_) => quote!((::tenon::__private::CallKind::Routine, #name)),
            Role::Start => quote!((::tenon::__private::CallKind::Start, _)),
            Role::Stop => quote!((::tenon::__private::CallKind::Stop, _)),
            Role::SelfTest => quote!((::tenon::__private::CallKind::SelfTest, _)),
            Role::Event | Role::On | Role::Init | Role::Migrate => return None,
        };
        let enter = method.enter(plugin, shared);
        let conditions = &method.conditions;
        Some(quote!(#(#conditions)* #pattern => #enter,))
    });
    let hears = hears(plugin, methods, shared);
    quote! {
        #[automatically_derived]
        impl ::tenon::Plugin for #self_ty {
            type Shared = #shared_type;

            const NAME: &'static str = #name;

            fn slot() -> &'static ::std::thread::LocalKey<::tenon::__private::Slot<Self>> {
                ::std::thread_local! {
                    static SLOT: ::tenon::__private::Slot<#self_ty> = const { ::tenon::__private::Slot::new() };
                }
                &SLOT
            }

            fn create() -> ::tenon::Result<Self::Shared> {
                let plugin: Self = #create;
                ::tenon::Result::Ok(#make)
            }

            fn describe(describer: &mut ::tenon::__private::Describer) {
                #(#described)*
                let _ = describer;
            }

            #[allow(unreachable_code, reason = "the plugin may migrate")]
            fn migrate(__tenon_parameters: &str) -> ::tenon::__private::Outcome {
                let _ = __tenon_parameters;
                #(#migrate)*
                ::tenon::__private::absent::<Self>(::tenon::__private::CallKind::Migrate, "")
            }

            fn enter(
                __tenon_this: &Self::Shared,
                kind: ::tenon::__private::CallKind,
                name: &str,
                __tenon_parameters: &str,
            ) -> ::tenon::__private::Step {
                let _ = (__tenon_this, __tenon_parameters);
                match (kind, name) {
                    #(#arms)*
                    #hears
                    _ => ::tenon::__private::Step::Done(::tenon::__private::absent::<Self>(kind, name)),
                }
            }
        }
    }
}

/// The arm of events, which go to every handler that asked for them.
fn hears(plugin: &Ident, methods: &[Method], shared: bool) -> Option<TokenStream> {
    let handlers: Vec<TokenStream> = (methods.iter())
        .filter(|method| method.marker.role == Role::On)
        .map(|method| {
            let (conditions, enter) = (&method.conditions, method.enter(plugin, shared));
            let (device, event) = (&method.marker.device, &method.marker.event);
            quote! {
                #(#conditions)*
                if __tenon_heard.is_for(#device, #event) {
                    let step = #enter;
                    __tenon_heard.taken(step);
                }
            }
        })
        .collect();
    (!handlers.is_empty()).then(|| {
        quote! {
            (::tenon::__private::CallKind::Event, _) => {
                let mut __tenon_heard = ::tenon::__private::Heard::new(name, __tenon_parameters);
                #(#handlers)*
                __tenon_heard.step::<Self>()
            }
        }
    })
}

fn create(methods: &[Method]) -> TokenStream {
    let Some(init) = methods.iter().find(|method| method.marker.role == Role::Init) else {
        return quote!(<Self as ::std::default::Default>::default());
    };
    let ident = &init.ident;
    let config = init.parameters.first().map(|parameter| {
        let ty = &parameter.ty;
        quote_spanned!(ty.span()=> ::tenon::config::<#ty>()?)
    });
    if init.returns_result {
        quote!(Self::#ident(#config).map_err(::tenon::__private::error)?)
    } else {
        quote!(Self::#ident(#config))
    }
}

/// A statement that tells `describer` of the method.
fn describe(method: &Method) -> TokenStream {
    let (about, schema) = (method.about(), method.schema());
    let schema = quote!(|__tenon_schema| { let _ = &__tenon_schema; #schema });
    let tell = match method.marker.role {
        Role::Function => quote!(describer.function(#about, #schema);),
        Role::Event => quote!(describer.event(#about, #schema);),
        Role::Routine(pace) => {
            let name = method.name();
            let (interval, cadence) = match pace {
                Pace::Every(interval) => (interval, quote!(FixedRate)),
                Pace::Delay(interval) => (interval, quote!(FixedDelay)),
            };
            let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            quote! {
                describer.routine(
                    #name,
                    ::std::time::Duration::from_millis(#milliseconds),
                    ::tenon::__private::Cadence::#cadence,
                );
            }
        }
        Role::On => {
            let (name, device, event) = (method.name(), &method.marker.device, &method.marker.event);
            quote!(describer.subscription(#name, #device, #event);)
        }
        Role::Init | Role::Start | Role::Stop | Role::SelfTest | Role::Migrate => return quote!(),
    };
    let conditions = &method.conditions;
    quote!(#(#conditions)* #tell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn refused(block: ItemImpl) -> String {
        plugin(&TokenStream::new(), block).expect_err("refused").to_string()
    }

    #[test]
    fn exclusive_access_and_overlapping_calls_exclude_each_other() {
        let error = refused(parse_quote! {
            impl Counter {
                #[function]
                async fn wait(&self) {}
                #[function]
                fn increment(&mut self) {}
            }
        });
        assert!(error.starts_with("calls of this plugin overlap"), "{error}");
        let error = refused(parse_quote!(impl Counter { #[function] async fn wait(&mut self) {} }));
        assert!(error.starts_with("calls of this plugin overlap"), "{error}");
        let unmarked = parse_quote! {
            impl Counter {
                #[function]
                async fn wait(&self) {}
                fn helper(&mut self) {}
            }
        };
        assert!(plugin(&TokenStream::new(), unmarked).is_ok(), "methods without a role are nobody's business");
    }

    #[test]
    fn every_mistake_is_told_in_its_own_words() {
        let cases: [(ItemImpl, &str); 18] = [
            (
                parse_quote!(impl Clone for A {}),
                "`#[tenon::plugin]` goes on an inherent impl block: `impl Counter { … }`",
            ),
            (
                parse_quote!(
                    impl<T> A<T> {}
                ),
                "a plugin cannot be generic",
            ),
            (parse_quote!(impl A { #[function] fn f(self) {} }), "expected `&self`, `&mut self` or `self: Rc<Self>`"),
            (parse_quote!(impl A { #[function] fn f<T>(a: T) {} }), "a marked method cannot be generic"),
            (parse_quote!(impl A { #[function] fn f(a: &str) {} }), "parameters are owned: `String`, not `&str`"),
            (parse_quote!(impl A { #[function] fn f((a, b): (u8, u8)) {} }), "a parameter needs a plain name"),
            (parse_quote!(impl A { #[function] #[event] fn f() {} }), "a method has one role only"),
            (parse_quote!(impl A { #[function(every = "5s")] fn f() {} }), "unknown, repeated or misplaced option"),
            (
                parse_quote!(impl A { #[function(name = "a b")] fn f() {} }),
                "a name consists of letters, digits, `-` and `_`",
            ),
            (parse_quote!(impl A { #[function] fn f() {} #[function(name = "f")] fn g() {} }), "a second function `f`"),
            (parse_quote!(impl A { #[start] fn f(a: u8) {} }), "a start hook takes no parameters"),
            (
                parse_quote!(impl A { #[migrate] fn f(&self, from: String, to: String) {} }),
                "expected `fn migrate(from: String, to: String) -> …`: there is no plugin yet",
            ),
            (
                parse_quote!(impl A { #[migrate] fn f(to: String, from: String) {} }),
                "expected `fn migrate(from: String, to: String) -> …`: there is no plugin yet",
            ),
            (
                parse_quote!(impl A { #[on(event = "motion")] fn f(&self, device: String) {} }),
                "expected `fn …(&self, device: String, event: String, payload: Value)`, or any type that is read from JSON",
            ),
            (
                parse_quote!(impl A { #[on(device = "a?")] fn f(d: String, e: String, p: Value) {} }),
                "a pattern consists of letters, digits, `-`, `_`, `.` and `*`",
            ),
            (parse_quote!(impl A { #[function] fn f(); }), "only an event is declared without a body"),
            (parse_quote!(impl A { #[event] fn f(#[default = 1] a: u8); }), "parameters of an event have no defaults"),
            (
                parse_quote!(impl A { #[init] fn new(&self) -> Self {} }),
                "expected `fn new() -> …` or `fn new(config: Config) -> …`, giving `Self` or `Result<Self, E>`",
            ),
        ];
        for (block, expected) in cases {
            assert_eq!(refused(block), expected);
        }
    }

    #[test]
    fn a_routine_says_how_often() {
        let error = refused(parse_quote!(impl A { #[routine] fn f(&self) {} }));
        assert!(error.starts_with("a routine needs `every"), "{error}");
        let error = refused(parse_quote!(impl A { #[routine(every = "5")] fn f(&self) {} }));
        assert!(error.starts_with("expected a whole number and"), "{error}");
        let error = refused(parse_quote!(impl A { #[routine(every = "5s", delay = "5s")] fn f(&self) {} }));
        assert_eq!(error, "unknown, repeated or misplaced option");
    }
}
