//! A request of a plugin over HTTP, and its answer.

/// What a plugin wants to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// In capitals.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// Names and values, in order; a name may come more than once.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Whole.
    pub body: Vec<u8>,
}

/// What came back, a redirect or a failure of the server as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// 100 to 999.
    pub status: u16,
    /// Names in lower case and values, in order; a name may come more than once.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Whole, as it came over the wire.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// All that it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.method.len() + self.url.len() + bytes_of(&self.headers) + self.body.len()
    }
}

impl HttpResponse {
    /// All that it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes_of(&self.headers) + self.body.len()
    }
}

fn bytes_of(headers: &[(String, Vec<u8>)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}
