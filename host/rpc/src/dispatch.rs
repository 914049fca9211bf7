//! From a message to a handler, in the order of the wire contract (section 3.2).

use crate::call::{Admission, Call, CallError, Handler, LocalCall, Origin, Outcome, Responder};
use crate::chain::CallChain;
use crate::device::DeviceCard;
use crate::envelope::{self, Frame, Params};
use crate::no_request_id;
use crate::registration;
use crate::routes::{REQUEST_REGISTRATION, Routes};
use mortise_mesh::Replier;
use mortise_model::Failure;
use serde_json::value::RawValue;
use std::sync::Arc;
use tracing::debug;

/// Decodes messages and hands calls to whoever serves them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    card: Arc<DeviceCard>,
    routes: Routes,
}

impl Dispatcher {
    /// A dispatcher over `routes` for the device of `card`.
    #[must_use]
    pub fn new(card: Arc<DeviceCard>, routes: Routes) -> Self {
        Self { card, routes }
    }

    /// Takes one message from the device's `cmd` subject. Never blocks: the answer follows when it is there.
    pub fn accept(&self, payload: &[u8], replier: Option<Replier>) {
        self.open(payload, Origin::Mesh, |id| Responder::mesh(id, replier));
    }

    /// Serves one message from the control socket and waits for its answer; none where none is due.
    ///
    /// Cancel safe: dropping the future gives the answer up, the call goes on.
    pub async fn serve(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut waiting = None;
        self.open(payload, Origin::Control, |id| {
            let (responder, receiver) = Responder::local(id.clone());
            waiting = Some((id, receiver));
            responder
        });
        let (id, receiver) = waiting?;
        // A responder answers even when it is dropped, so the sender is never lost without a word.
        let outcome = receiver.await.ok()?;
        Some(envelope::encode_reply(&id, &outcome))
    }

    /// Hands one call to whoever serves `method` now, bare or namespaced.
    pub fn dispatch(&self, method: &str, mut call: Call) {
        // A route found just before a swap may lead to a generation that was closed just after it. Its successor, or
        // its absence, is then in the newest table: routes are swapped before a generation is closed.
        let mut closed: Option<Arc<dyn Handler>> = None;
        loop {
            let route = self.routes.load().resolve(method).cloned();
            let Some(route) = route else {
                let error = CallError::unknown_method(method);
                return call.responder.respond(Err(error));
            };
            if closed.is_some_and(|closed| Arc::ptr_eq(&closed, &route.handler)) {
                let failure = Failure::retryable("stopping", "the function is being taken away");
                return call.responder.respond(Err(failure.into()));
            }
            match route.handler.handle(&route.function, call) {
                Admission::Taken => return,
                Admission::Closed(returned) => call = *returned,
            }
            closed = Some(route.handler);
        }
    }

    /// Calls a function of this host on behalf of a plugin and waits for its answer.
    ///
    /// `call` brings the method, the parameters, which may hold nothing that functions must not see (wire contract
    /// 3.4, 3.5), and the deadline. Cancel safe: dropping the future gives the answer up, the call goes on.
    pub async fn invoke(&self, call: LocalCall) -> Outcome {
        let (responder, answer) = Responder::local(no_request_id());
        match envelope::split_params(Some(call.params.as_raw())) {
            Ok(params) => self.dispatch(
                &call.method,
                Call {
                    params: params.json,
                    caller: Some(self.card.id.to_string()),
                    trace: call.trace,
                    origin: Origin::Plugin,
                    deadline: Some(call.deadline),
                    chain: call.chain,
                    may_wait: call.may_wait,
                    responder,
                },
            ),
            Err(error) => responder.respond(Err(error)),
        }
        // A responder answers even when it is dropped.
        answer.await.unwrap_or_else(|_| Err(Failure::retryable("dropped", "the call was dropped").into()))
    }

    fn open(&self, payload: &[u8], origin: Origin, responder: impl FnOnce(Box<RawValue>) -> Responder) {
        let (id, method, params) = match envelope::decode(payload) {
            Frame::Request { id, method, params } => (id, method, params),
            Frame::Ignored => return debug!("ignored a message without an id"),
            Frame::Refused(error) => {
                debug!(%error, "refused a message");
                return responder(no_request_id()).respond(Err(error));
            }
        };
        let responder = responder(id.to_owned());
        if method == REQUEST_REGISTRATION {
            return responder.respond(self.registration());
        }
        match envelope::split_params(params) {
            Ok(params) => {
                let Params { json: params, caller, trace } = params;
                let (deadline, chain, may_wait) = (None, CallChain::default(), true);
                self.dispatch(&method, Call { params, caller, trace, origin, deadline, chain, may_wait, responder });
            }
            Err(error) => responder.respond(Err(error)),
        }
    }

    fn registration(&self) -> Outcome {
        Ok(registration::registration(&self.card, self.routes.load().capabilities()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{PluginRoutes, Route};
    use mortise_model::{DeviceId, Json, Tenant};
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Answers with its parameters, or is closed.
    struct Echo {
        closed: bool,
        seen: AtomicUsize,
    }

    impl Handler for Echo {
        fn handle(&self, function: &Arc<str>, call: Call) -> Admission {
            self.seen.fetch_add(1, Ordering::SeqCst);
            if self.closed {
                return Admission::Closed(Box::new(call));
            }
            let Call { params, responder, caller, .. } = call;
            match &**function {
                "fail" => responder.respond(Err(Failure::new("odd", "did not work").into())),
                "drop" => drop(responder),
                "caller" => responder.respond(Ok(Json::of(&serde_json::json!(caller)))),
                _ => responder.respond(Ok(params)),
            }
            Admission::Taken
        }
    }

    fn table(names: &[&str], handler: &Arc<Echo>) -> PluginRoutes {
        let routes = names
            .iter()
            .map(|name| {
                let function: Arc<str> = (*name).into();
                let handler: Arc<dyn Handler> = Arc::<Echo>::clone(handler);
                (Arc::clone(&function), Route { function, handler })
            })
            .collect::<HashMap<_, _>>();
        PluginRoutes { routes, ..PluginRoutes::default() }
    }

    fn dispatcher() -> (Dispatcher, Arc<Echo>) {
        let card = DeviceCard {
            id: DeviceId::new("host-1").unwrap(),
            tenant: Tenant::new("lab").unwrap(),
            availability: "idle".into(),
            ttl: Duration::from_secs(15),
            version: "0".into(),
        };
        let routes = Routes::new();
        let echo = Arc::new(Echo { closed: false, seen: AtomicUsize::new(0) });
        routes.publish(table(&["echo", "fail", "drop", "caller"], &echo));
        (Dispatcher::new(Arc::new(card), routes), echo)
    }

    async fn ask(dispatcher: &Dispatcher, text: &str) -> Option<serde_json::Value> {
        let reply = dispatcher.serve(text.as_bytes()).await?;
        Some(serde_json::from_slice(&reply).unwrap())
    }

    #[tokio::test]
    async fn every_request_is_answered_and_nothing_else() {
        let (dispatcher, echo) = dispatcher();
        for (request, code, message) in [
            (r#"{"id":1,"method":"nope"}"#, -32601, "Unknown method: nope"),
            (r#"{"id":1}"#, -32601, "Unknown method: None"),
            (r#"{"id":1,"method":"echo","params":[]}"#, -32602, "params must be a JSON object"),
            (r#"{"id":1,"method":"fail"}"#, -32000, "did not work"),
            (r#"{"id":1,"method":"drop"}"#, -32000, "the call was dropped before it was answered"),
            ("[]", -32600, "a request is one JSON object"),
        ] {
            let reply = ask(&dispatcher, request).await.unwrap();
            assert_eq!(
                (&reply["error"]["code"], &reply["error"]["message"]),
                (&code.into(), &message.into()),
                "{request}"
            );
        }
        let reply = ask(&dispatcher, r#"{"id":"a","method":"echo","params":{"x":1}}"#).await.unwrap();
        assert_eq!(reply, serde_json::json!({"jsonrpc": "2.0", "id": "a", "result": {"x": 1}}));

        let seen = echo.seen.load(Ordering::SeqCst);
        assert_eq!(ask(&dispatcher, r#"{"method":"echo"}"#).await, None);
        assert_eq!(echo.seen.load(Ordering::SeqCst), seen, "a message without an id is not executed");
    }

    #[tokio::test]
    async fn the_claimed_caller_reaches_the_handler_and_not_its_parameters() {
        let (dispatcher, _) = dispatcher();
        let meta = r#""params":{"_dc_meta":{"source_device":"robot-1"}}"#;
        let reply = ask(&dispatcher, &format!(r#"{{"id":1,"method":"caller",{meta}}}"#)).await.unwrap();
        assert_eq!(reply["result"], "robot-1");
        let reply = ask(&dispatcher, &format!(r#"{{"id":1,"method":"echo",{meta}}}"#)).await.unwrap();
        assert_eq!(reply["result"], serde_json::json!({}));
    }

    #[tokio::test]
    async fn a_handler_that_stays_closed_is_answered_for() {
        let (dispatcher, _) = dispatcher();
        let closed = Arc::new(Echo { closed: true, seen: AtomicUsize::new(0) });
        dispatcher.routes.publish(table(&["echo"], &closed));
        let reply = ask(&dispatcher, r#"{"id":1,"method":"echo"}"#).await.unwrap();
        assert_eq!(reply["error"]["data"]["code"], "stopping");
        assert_eq!(closed.seen.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn plugins_cannot_pass_on_what_functions_must_not_see() {
        let (dispatcher, _) = dispatcher();
        let params = r#"{"a":1,"source_device":"forged","_dc_meta":{"source_device":"forged"}}"#;
        let call = |method: &str| LocalCall {
            method: method.to_owned(),
            params: Json::new(params.to_owned()).unwrap(),
            trace: None,
            deadline: tokio::time::Instant::now() + Duration::from_secs(5),
            chain: CallChain::default(),
            may_wait: true,
        };
        assert_eq!(dispatcher.invoke(call("echo")).await.unwrap().as_str(), r#"{"a":1}"#);
        assert_eq!(dispatcher.invoke(call("caller")).await.unwrap().to_value(), "host-1");
    }

    #[tokio::test]
    async fn registration_is_answered_before_any_function() {
        let (dispatcher, echo) = dispatcher();
        dispatcher.routes.publish(table(&[REQUEST_REGISTRATION], &echo));
        let reply = ask(&dispatcher, r#"{"id":null,"method":"requestRegistration","params":[1]}"#).await.unwrap();
        assert_eq!(reply["result"]["device_id"], "host-1");
        assert_eq!(reply["result"]["device_ttl"], 15);
        assert_eq!(reply["id"], serde_json::Value::Null);
        assert_eq!(echo.seen.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_call_that_meets_a_closed_generation_goes_to_its_successor() {
        let (dispatcher, echo) = dispatcher();
        struct Swap {
            routes: Routes,
            next: Arc<Echo>,
        }
        impl Handler for Swap {
            fn handle(&self, _: &Arc<str>, call: Call) -> Admission {
                self.routes.publish(table(&["echo"], &self.next));
                Admission::Closed(Box::new(call))
            }
        }
        let function: Arc<str> = "echo".into();
        let handler = Arc::new(Swap { routes: dispatcher.routes.clone(), next: Arc::clone(&echo) });
        let routes = HashMap::from([(Arc::clone(&function), Route { function, handler })]);
        dispatcher.routes.publish(PluginRoutes { routes, ..PluginRoutes::default() });
        let reply = ask(&dispatcher, r#"{"id":1,"method":"echo","params":{"x":1}}"#).await.unwrap();
        assert_eq!(reply["result"], serde_json::json!({"x": 1}));
    }
}
