//! The ledger: the smallest system worth the name. Accounts with balances, moved by compare-and-set, by deltas
//! that merge, and refused below zero. It exercises every part of the contract, and its state is easy to model.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{Decoder, Encoder};
use crate::env::Env;
use crate::key::{KeyReader, SegmentId, SystemId, Tag};
use crate::slate::{Access, ApplyContext, InstanceView, PrepareContext};
use crate::{DataSystem, Error, Operation, Position, Result, SystemWriter};

const ACCOUNT: Tag = Tag(0x10);
const NOTE: Tag = Tag(0x11);
const LAYOUT: u8 = 1;

/// The system. Its id is reserved for tests.
pub struct Ledger;

/// Settings of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerConfig {
    /// The largest balance; zero for none. Fixed at creation.
    pub limit: i64,
    /// Any text; may change.
    pub title: String,
}

/// What a transaction asks of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerOp {
    moves: Vec<(String, i64)>,
    expects: Vec<(String, i64)>,
    notes: Vec<(String, u64)>,
    foreign: bool,
    padding: usize,
}

impl LedgerOp {
    /// Adds to a balance. A balance below zero, or over the limit, refuses the transaction.
    pub fn add(&mut self, account: &str, amount: i64) -> &mut Self {
        self.moves.push((account.to_owned(), amount));
        self
    }

    /// Demands a balance before anything is added.
    pub fn expect(&mut self, account: &str, balance: i64) -> &mut Self {
        self.expects.push((account.to_owned(), balance));
        self
    }

    /// Counts up a note through the merge operator, without reading it.
    pub fn note(&mut self, name: &str, count: u64) -> &mut Self {
        self.notes.push((name.to_owned(), count));
        self
    }

    /// Makes the ledger write a key of another instance, which the slate must never store.
    pub fn write_foreign_key(&mut self) -> &mut Self {
        self.foreign = true;
        self
    }

    /// Makes the operation as large as wanted.
    pub fn pad(&mut self, size_bytes: usize) -> &mut Self {
        self.padding = size_bytes;
        self
    }
}

impl Operation for LedgerOp {
    fn size_bytes(&self) -> usize {
        32 * (self.moves.len() + self.expects.len() + self.notes.len()) + self.padding
    }

    fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.expects.is_empty() && self.notes.is_empty() && !self.foreign && self.padding == 0
    }
}

/// A checked operation: the balances as they will be.
pub struct LedgerPlan {
    balances: BTreeMap<String, i64>,
    op: LedgerOp,
}

/// The writer of a ledger, with all balances in memory.
pub struct LedgerWriter {
    balances: BTreeMap<String, i64>,
    limit: i64,
}

/// All balances at the published position.
pub struct LedgerState {
    balances: BTreeMap<String, i64>,
}

impl DataSystem for Ledger {
    const ID: SystemId = SystemId(0x7e);
    const NAME: &'static str = "ledger";
    const VERSION: u8 = 1;

    type Config = LedgerConfig;
    type Writer = LedgerWriter;
    type Reader = LedgerReader;

    fn validate(config: &LedgerConfig) -> Result<()> {
        if config.limit < 0 { Err(Error::invalid("limit must not be negative")) } else { Ok(()) }
    }

    fn reconfigure(old: &LedgerConfig, new: &LedgerConfig) -> Result<()> {
        if old.limit == new.limit { Ok(()) } else { Err(Error::invalid("limit is fixed at creation")) }
    }

    async fn recover(view: InstanceView<Self>, _env: Env) -> Result<LedgerWriter> {
        let limit = view.config().limit;
        let balances = LedgerReader { view }.scan_balances().await?;
        Ok(LedgerWriter { balances, limit })
    }

    fn reader(view: InstanceView<Self>) -> LedgerReader {
        LedgerReader { view }
    }

    fn merge(key: &[u8], existing: Option<&[u8]>, operands: &[Bytes]) -> Result<Bytes> {
        let mut sum = existing.map_or(Ok(0), |value| decode(key, value))?;
        for operand in operands {
            sum += decode(key, operand)?;
        }
        Ok(encode(sum))
    }

    fn describe(key: &[u8], value: &[u8]) -> Result<String> {
        let (_, _, mut reader) = KeyReader::new(key)?;
        let name = reader.terminated()?;
        Ok(format!("{} = {}", String::from_utf8_lossy(&name), decode(key, value)?))
    }
}

#[async_trait]
impl SystemWriter for LedgerWriter {
    type Op = LedgerOp;
    type Plan = LedgerPlan;
    type Receipt = BTreeMap<String, i64>;
    type State = LedgerState;

    async fn prepare(&mut self, op: LedgerOp, cx: &PrepareContext<'_>) -> Result<LedgerPlan> {
        for (account, expected) in &op.expects {
            let stored = match cx.get(&account_key(cx.prefix(SegmentId::CONTROL), account)).await? {
                Some(value) => decode(account.as_bytes(), &value)?,
                None => 0,
            };
            if stored != *expected {
                return Err(Error::conflict(format!("balance differs, account={account}, balance={stored}")));
            }
        }
        let mut balances = BTreeMap::new();
        for (account, amount) in &op.moves {
            let before = balances.get(account).or_else(|| self.balances.get(account)).copied().unwrap_or(0);
            let after = before + amount;
            if after < 0 || (self.limit > 0 && after > self.limit) {
                return Err(Error::invalid(format!("balance out of range, account={account}, balance={after}")));
            }
            balances.insert(account.clone(), after);
        }
        Ok(LedgerPlan { balances, op })
    }

    fn apply(&mut self, plan: LedgerPlan, cx: &mut ApplyContext<'_>) -> BTreeMap<String, i64> {
        let prefix = cx.prefix(SegmentId::CONTROL);
        for (account, balance) in &plan.balances {
            cx.put_visible(account_key(prefix, account), encode(*balance));
            self.balances.insert(account.clone(), *balance);
        }
        for (name, count) in &plan.op.notes {
            let key = prefix.key(NOTE).terminated(name.as_bytes()).build();
            cx.merge(key, encode(count.cast_signed()));
        }
        if plan.op.foreign {
            cx.put(Bytes::from_static(&[0x7e, 1, 0xff, 0xfe, 0, 0, 0, 0, 0x10]), encode(1));
        }
        plan.balances
    }

    fn publish(&mut self, _position: Position) -> Arc<LedgerState> {
        Arc::new(LedgerState { balances: self.balances.clone() })
    }
}

/// Reads a ledger at one view.
pub struct LedgerReader {
    view: InstanceView<Ledger>,
}

impl LedgerReader {
    /// All balances, from the writer's memory if the view has it.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn balances(&self) -> Result<BTreeMap<String, i64>> {
        match self.view.state() {
            Some(state) => Ok(state.balances.clone()),
            None => self.scan_balances().await,
        }
    }

    /// All balances, from the slate.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn scan_balances(&self) -> Result<BTreeMap<String, i64>> {
        self.scan(ACCOUNT).await
    }

    /// All notes.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn notes(&self) -> Result<BTreeMap<String, i64>> {
        self.scan(NOTE).await
    }

    /// The position shown.
    #[must_use]
    pub fn position(&self) -> Position {
        self.view.position()
    }

    async fn scan(&self, tag: Tag) -> Result<BTreeMap<String, i64>> {
        let range = self.view.prefix(SegmentId::CONTROL).key(tag).range();
        let mut rows = self.view.scan(range, Access::Point).await?;
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next().await? {
            let (_, _, mut reader) = KeyReader::new(&row.key)?;
            let name = reader.terminated()?;
            found.insert(String::from_utf8_lossy(&name).into_owned(), decode(&row.key, &row.value)?);
        }
        Ok(found)
    }
}

fn account_key(prefix: crate::key::Prefix, account: &str) -> Bytes {
    prefix.key(ACCOUNT).terminated(account.as_bytes()).build()
}

fn encode(number: i64) -> Bytes {
    let mut value = Encoder::new(LAYOUT);
    value.signed(number);
    value.finish()
}

fn decode(key: &[u8], value: &[u8]) -> Result<i64> {
    let mut reader = Decoder::new(value);
    let number = reader.layout(LAYOUT).and_then(|()| reader.signed());
    number.map_err(|error| Error::corrupt_at(key, error))
}
