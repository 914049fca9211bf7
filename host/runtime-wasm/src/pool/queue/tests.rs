use super::*;
use crate::host::plugin::tests::view;
use mortise_model::Json;
use mortise_plugin::Ticket;
use mortise_rpc::CallChain;

/// A queue of two instances for so many calls at once, and their seats: the first and the other.
fn two(concurrency: usize) -> (Arc<Queue>, Member, Member) {
    let queue = Queue::new(Arc::new(Backlog::new(100, 1 << 20)), 2, concurrency, false);
    let shared = view().shared;
    let (first, other) = (queue.join(Arc::clone(&shared)), queue.join(Arc::new(shared.beside())));
    (queue, first, other)
}

fn push(queue: &Queue, kind: JobKind) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let (ticket, params) = (Ticket::uncounted().0, Json::of(&serde_json::json!({})));
    let job = Job {
        kind,
        name: "f".into(),
        params,
        caller: None,
        trace: None,
        deadline,
        chain: CallChain::default(),
        ticket,
    };
    assert!(queue.backlog().admit(&job).is_ok());
    queue.push(job);
}

/// Whether it rests, or has found a call to take.
fn rests(member: &Member, running: usize) -> bool {
    member.rest(running, Instant::now(), Waker::noop())
}

fn looks(queue: &Queue, member: &Member) -> bool {
    matches!(queue.state().members[&member.id].stance, Stance::Looks)
}

#[test]
fn a_tick_has_the_last_free_place_if_the_first_can_take_it() {
    for kind in [JobKind::Routine, JobKind::Event] {
        let (queue, first, other) = two(1);
        assert!(rests(&first, 0) && rests(&other, 0));
        first.works();
        push(&queue, JobKind::Function);
        assert!(other.take(0).is_some(), "the first is about something else");
        assert!(rests(&first, 0));
        push(&queue, kind);
        push(&queue, JobKind::Function);
        assert!(other.take(0).is_none(), "its call is over, and the tick has waited longer");
        assert!(rests(&other, 0) && looks(&queue, &first), "the first is woken");
        assert_eq!(first.take(0).map(|job| job.kind), Some(kind));
    }
}

#[test]
fn a_tick_keeps_no_place_that_the_first_cannot_take_now() {
    let (queue, first, other) = two(2);
    push(&queue, JobKind::Function);
    assert!(first.take(0).is_some());
    first.works();
    push(&queue, JobKind::Routine);
    push(&queue, JobKind::Function);
    assert!(other.take(0).is_some(), "the first computes");
    let (queue, first, other) = two(1);
    assert!(rests(&first, 0) && rests(&other, 0));
    first.lost();
    push(&queue, JobKind::Routine);
    push(&queue, JobKind::Function);
    assert!(other.take(0).is_some(), "the first begins another instance");
}

#[test]
fn an_instance_that_was_lost_leaves_the_places_of_its_calls_to_others() {
    let (queue, first, other) = two(1);
    assert!(rests(&other, 0));
    push(&queue, JobKind::Function);
    push(&queue, JobKind::Function);
    assert!(first.take(0).is_some());
    first.works();
    assert!(rests(&other, 0), "as many calls are under way as there may be");
    first.lost();
    assert!(looks(&queue, &other), "it is woken");
    assert!(other.take(0).is_some());
    assert!(rests(&first, 0), "it is back");
}
