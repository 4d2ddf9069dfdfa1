use std::fmt::Write;

use super::*;
use crate::codec::Encoder;
use crate::testing::{LedgerConfig, LedgerOp};

struct LedgerSubject;

impl Subject for LedgerSubject {
    type System = Ledger;

    fn config(&self) -> LedgerConfig {
        LedgerConfig::default()
    }

    fn operation(&self, random: &mut StdRng, step: u64) -> LedgerOp {
        let mut op = LedgerOp::default();
        op.add(&format!("account-{}", random.random_range(0..5)), random.random_range(-5..20));
        op.note(&format!("note-{}", step % 3), 1);
        op
    }

    fn refused(&self, random: &mut StdRng) -> LedgerOp {
        let mut op = LedgerOp::default();
        op.add("account-0", random.random_range(1..9)).note("note-0", 7).add("broke", -1);
        op
    }

    async fn dump(&self, view: InstanceView<Ledger>) -> Result<String> {
        let reader = Ledger::reader(view);
        let mut text = String::new();
        let _ = write!(text, "{:?} {:?}", reader.balances().await?, reader.notes().await?);
        Ok(text)
    }

    fn merges(&self, random: &mut StdRng) -> Vec<(Vec<u8>, Vec<Bytes>)> {
        let operands = (0..random.random_range(1..6)).map(|_| {
            let mut value = Encoder::new(1);
            value.signed(random.random_range(-9..9));
            value.finish()
        });
        vec![(vec![0x11, 0, 0], operands.collect())]
    }
}

#[tokio::test]
async fn the_ledger_conforms() {
    for seed in 0..3 {
        check(&LedgerSubject, seed).await;
    }
}
