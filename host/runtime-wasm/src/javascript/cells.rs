//! Numbers that cross where they lie in the interpreter's memory, at no cost: the boot script has them as a `Float64Array`, in
//! `crossing.js`, of a buffer that nobody else sees and that therefore stays where it is.

use super::abi::{Abi, Cx, Value};
use super::words;
use wasmtime::{Error, Result};

const NUMBER_BYTES: u32 = 8;
const COUNT: u32 = 4;

/// Where the numbers lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells(u32);

/// Which number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell {
    /// The call that is begun or cancelled or whose outcome is taken, or the op whose outcome is delivered.
    Id = 0,
    /// What kind of call is begun.
    Kind = 1,
    /// What the text is that an entry gives.
    Outcome = 2,
    /// How many outcomes there are to be taken.
    OutcomesLeft = 3,
}

/// What an entry says of the text or the value that it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// A failure as JSON.
    Failed,
    /// A result as JSON.
    Done,
    /// What may be a promise of a result.
    Promised,
}

/// No entry says this.
const UNTOLD: u32 = 9;

impl Cells {
    /// Bytes for them, in the interpreter, and where these lie.
    pub(super) async fn new(cx: &mut Cx<'_>, abi: &Abi) -> Result<(Self, Value)> {
        let bytes = abi.new_bytes(cx, &[0; (COUNT * NUMBER_BYTES) as usize]).await?;
        let (at, _) = abi.place(cx, bytes).await?;
        Ok((Self(at), bytes))
    }

    pub(super) fn set(self, cx: &mut Cx<'_>, abi: &Abi, cell: Cell, number: u32) -> Result<()> {
        abi.set_number_at(cx, self.at(cell), f64::from(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "no instance lives for as many calls as a double can tell apart")]
    pub(super) fn set_id(self, cx: &mut Cx<'_>, abi: &Abi, id: u64) -> Result<()> {
        abi.set_number_at(cx, self.at(Cell::Id), id as f64)
    }

    pub(super) fn get(self, cx: &mut Cx<'_>, abi: &Abi, cell: Cell) -> Result<u64> {
        words::whole(abi.number_at(cx, self.at(cell))?)
    }

    /// To be called before an entry that says what it gives.
    pub(super) fn ask(self, cx: &mut Cx<'_>, abi: &Abi) -> Result<()> {
        self.set(cx, abi, Cell::Outcome, UNTOLD)
    }

    /// What it said; none where it threw.
    pub(super) fn told(self, cx: &mut Cx<'_>, abi: &Abi) -> Result<Option<Told>> {
        Ok(match self.get(cx, abi, Cell::Outcome)? {
            0 => Some(Told::Failed),
            1 => Some(Told::Done),
            2 => Some(Told::Promised),
            number if number == u64::from(UNTOLD) => None,
            other => return Err(Error::msg(format!("the boot script says {other} of an outcome"))),
        })
    }

    fn at(self, cell: Cell) -> u32 {
        self.0.saturating_add(cell as u32 * NUMBER_BYTES)
    }
}
