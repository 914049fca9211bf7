//! One marked method: what it takes, how it is entered.

use crate::options::{self, Marker, Role};
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, Ident, Lit, Pat, PathArguments, Receiver, Result,
    ReturnType, Signature, Type,
};

/// One marked method.
pub(crate) struct Method {
    pub(crate) marker: Marker,
    pub(crate) ident: Ident,
    pub(crate) receiver: Access,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) is_async: bool,
    pub(crate) returns_result: bool,
    pub(crate) doc: String,
    /// `#[cfg(…)]`: what is made of the method is conditional as well.
    pub(crate) conditions: Vec<Attribute>,
}

/// How a method takes its plugin.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    None,
    Shared,
    Exclusive(Span),
    Counted,
}

/// One parameter.
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) default: Option<Expr>,
    pub(crate) doc: String,
}

impl Method {
    /// Reads a signature and removes from it what only the macro understands.
    pub(crate) fn read(marker: Marker, attributes: &[Attribute], signature: &mut Signature) -> Result<Self> {
        let doc = options::doc(attributes);
        for (found, what) in [
            (signature.unsafety.map(|token| token.span), "unsafe"),
            (signature.constness.map(|token| token.span), "const"),
            (signature.generics.lt_token.map(|token| token.span), "generic"),
        ] {
            if let Some(span) = found {
                return Err(Error::new(span, format!("a marked method cannot be {what}")));
            }
        }
        let mut receiver = Access::None;
        let mut parameters = Vec::new();
        for input in &mut signature.inputs {
            match input {
                FnArg::Receiver(this) => receiver = Access::of(this)?,
                FnArg::Typed(parameter) => {
                    let Pat::Ident(pattern) = &*parameter.pat else {
                        return Err(Error::new(parameter.pat.span(), "a parameter needs a plain name"));
                    };
                    if let Type::Reference(reference) = &*parameter.ty {
                        return Err(Error::new(reference.span(), "parameters are owned: `String`, not `&str`"));
                    }
                    let own_doc = options::summary(&options::doc(&parameter.attrs));
                    let default = options::take_default(&mut parameter.attrs)?;
                    parameter.attrs.retain(|attribute| !attribute.path().is_ident("doc"));
                    let ident = pattern.ident.clone();
                    let mut name = ident.to_string().trim_start_matches("r#").to_owned();
                    if marker.role == Role::Migrate {
                        // One that is not used may say so.
                        name = name.trim_start_matches('_').to_owned();
                    }
                    let doc = if own_doc.is_empty() { options::argument_doc(&doc, &name) } else { own_doc };
                    parameters.push(Parameter { name, ident, ty: (*parameter.ty).clone(), default, doc });
                }
            }
        }
        Ok(Self {
            marker,
            ident: signature.ident.clone(),
            receiver,
            parameters,
            is_async: signature.asyncness.is_some(),
            returns_result: returns_result(&signature.output),
            doc,
            conditions: attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned().collect(),
        })
    }

    /// As it is called, emitted or ticked.
    pub(crate) fn name(&self) -> String {
        let ident = || self.ident.to_string().trim_start_matches("r#").to_owned();
        self.marker.name.clone().unwrap_or_else(ident)
    }

    /// The `About` of a function or an event.
    pub(crate) fn about(&self) -> TokenStream {
        let (name, description) = (self.name(), options::summary(&self.doc));
        let labels = self.marker.labels.iter().map(|(key, value)| quote!((#key, #value)));
        let tags = &self.marker.tags;
        quote! {
            ::tenon::__private::About {
                name: #name,
                description: #description,
                labels: &[#(#labels),*],
                tags: &[#(#tags),*],
            }
        }
    }

    /// Statements that tell `__tenon_schema` every parameter. Names that are bound where a parameter or a default may
    /// stand begin with `__tenon_`, so that a parameter can have any other.
    pub(crate) fn schema(&self) -> TokenStream {
        self.parameters.iter().map(|parameter| parameter.schema(self.marker.role == Role::Event)).collect()
    }

    /// The arm's body of an entry: an expression of type `Step`. `shared`: whether `__tenon_this` is an `Rc<Self>`, or else an
    /// `Rc<RefCell<Self>>`.
    pub(crate) fn enter(&self, plugin: &Ident, shared: bool) -> TokenStream {
        let ident = &self.ident;
        let this = match self.receiver {
            Access::None => quote!(),
            Access::Counted => quote!(::std::rc::Rc::clone(&__tenon_this),),
            Access::Shared if shared => quote!(&__tenon_this,),
            Access::Shared => quote!(&__tenon_this.borrow(),),
            Access::Exclusive(_) => quote!(&mut __tenon_this.borrow_mut(),),
        };
        let arguments: Vec<_> = self.parameters.iter().map(|parameter| &parameter.ident).collect();
        let outcome = if self.returns_result { quote!(result) } else { quote!(value) };
        let read = self.read_arguments(plugin);
        if self.is_async {
            quote! {
                match (|| { #read ::tenon::Result::Ok((#(#arguments,)*)) })() {
                    ::std::result::Result::Err(error) => ::tenon::__private::Step::Done(::std::result::Result::Err(error)),
                    ::std::result::Result::Ok((#(#arguments,)*)) => {
                        let __tenon_this = ::std::rc::Rc::clone(__tenon_this);
                        ::tenon::__private::Step::Later(::std::boxed::Box::pin(async move {
                            let _ = &__tenon_this;
                            ::tenon::__private::#outcome(Self::#ident(#this #(#arguments),*).await)
                        }))
                    }
                }
            }
        } else {
            quote! {
                ::tenon::__private::Step::Done((|| {
                    #read
                    ::tenon::__private::#outcome(Self::#ident(#this #(#arguments),*))
                })())
            }
        }
    }

    /// The migration as an expression of type `Outcome`. It has no plugin: that is made of what is migrated here.
    pub(crate) fn migrate(&self, plugin: &Ident) -> TokenStream {
        let (ident, read) = (&self.ident, self.read_arguments(plugin));
        let arguments = self.parameters.iter().map(|parameter| &parameter.ident);
        let outcome = if self.returns_result { quote!(result) } else { quote!(value) };
        quote!((|| { #read ::tenon::__private::#outcome(Self::#ident(#(#arguments),*)) })())
    }

    /// Statements that bind every parameter. Other hooks and routines take nothing; what the host passes them is not read.
    fn read_arguments(&self, plugin: &Ident) -> TokenStream {
        if self.marker.role == Role::On {
            let values = [quote!(device()), quote!(event()), quote!(payload()?)];
            let read = self.parameters.iter().zip(values).map(|(Parameter { ident, ty, .. }, value)| {
                quote_spanned!(ty.span()=> let #ident: #ty = __tenon_heard.#value;)
            });
            return quote!(#(#read)*);
        }
        if !matches!(self.marker.role, Role::Function | Role::Migrate) {
            return quote!();
        }
        let function = format!("{plugin}.{}", self.name());
        let count = self.parameters.len();
        let parameters = self.parameters.iter().map(|parameter| {
            let (name, required) = (&parameter.name, parameter.is_required());
            quote!(::tenon::__private::Parameter { name: #name, required: #required })
        });
        let read = self.parameters.iter().enumerate().map(|(index, parameter)| parameter.read(index));
        quote! {
            static __TENON_SIGNATURE: ::tenon::__private::Signature<#count> = ::tenon::__private::Signature {
                function: #function,
                parameters: [#(#parameters),*],
            };
            let __tenon_arguments = __TENON_SIGNATURE.read(__tenon_parameters)?;
            let _ = &__tenon_arguments;
            #(#read)*
        }
    }
}

impl Access {
    fn of(receiver: &Receiver) -> Result<Self> {
        if receiver.colon_token.is_some() {
            return match &*receiver.ty {
                Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Rc") => {
                    Ok(Self::Counted)
                }
                other => Err(Error::new(other.span(), "expected `&self`, `&mut self` or `self: Rc<Self>`")),
            };
        }
        match (&receiver.reference, receiver.mutability) {
            (Some(_), None) => Ok(Self::Shared),
            (Some(_), Some(token)) => Ok(Self::Exclusive(token.span)),
            (None, _) => Err(Error::new(receiver.span(), "expected `&self`, `&mut self` or `self: Rc<Self>`")),
        }
    }
}

impl Parameter {
    /// `T` of an `Option<T>`.
    pub(crate) fn optional(&self) -> Option<&Type> {
        let Type::Path(path) = &self.ty else { return None };
        let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        match arguments.args.first() {
            Some(GenericArgument::Type(ty)) => Some(ty),
            _ => None,
        }
    }

    fn is_required(&self) -> bool {
        self.default.is_none() && self.optional().is_none()
    }

    /// The default as a value of the parameter's type. Text may stand for anything made from text.
    fn default_value(&self) -> Option<TokenStream> {
        let (ty, default) = (&self.ty, self.default.as_ref()?);
        Some(match default {
            Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => match self.optional() {
                Some(ty) => {
                    quote_spanned!(default.span()=> ::std::option::Option::Some(<#ty as ::std::convert::From<_>>::from(#default)))
                }
                None => quote_spanned!(default.span()=> <#ty as ::std::convert::From<_>>::from(#default)),
            },
            _ => quote_spanned!(default.span()=> #default),
        })
    }

    fn schema(&self, of_event: bool) -> TokenStream {
        let (name, doc) = (&self.name, &self.doc);
        let ty = self.optional().unwrap_or(&self.ty);
        let whole = &self.ty;
        let add = match (self.default_value(), self.optional()) {
            (Some(default), _) => quote_spanned! {ty.span()=>
                __tenon_schema.optional::<#ty>(#name, #doc, {
                    let default: #whole = #default;
                    ::tenon::__private::to_value(default).unwrap_or_default()
                })
            },
            (None, Some(_)) if of_event => quote_spanned!(ty.span()=> __tenon_schema.omissible::<#ty>(#name, #doc)),
            (None, Some(_)) => {
                quote_spanned!(ty.span()=> __tenon_schema.optional::<#ty>(#name, #doc, ::tenon::Value::Null))
            }
            (None, None) => quote_spanned!(ty.span()=> __tenon_schema.required::<#ty>(#name, #doc)),
        };
        quote!(#add;)
    }

    fn read(&self, index: usize) -> TokenStream {
        let (ident, ty) = (&self.ident, &self.ty);
        // An `Option` with a default other than none is asked for as any other type, so that `null` is the default.
        match self.default_value() {
            Some(default) => {
                quote_spanned!(ty.span()=> let #ident: #ty = __tenon_arguments.get_or(#index, || #default)?;)
            }
            None => quote_spanned!(ty.span()=> let #ident: #ty = __tenon_arguments.get(#index)?;),
        }
    }
}

fn returns_result(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else { return false };
    match &**ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Result"),
        _ => false,
    }
}
