//! The attribute macro of `tenon`; documented there.

mod expand;
mod method;
mod options;

use proc_macro::TokenStream;
use syn::{ItemImpl, parse_macro_input};

/// Turns an impl block into a plugin; see the crate `tenon`.
#[proc_macro_attribute]
pub fn plugin(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let attribute = proc_macro2::TokenStream::from(attribute);
    let item = parse_macro_input!(item as ItemImpl);
    expand::plugin(&attribute, item).unwrap_or_else(syn::Error::into_compile_error).into()
}
