//! The outside: an endpoint of webhooks that answers late, or says that it failed, sometimes after it took what it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opendata_core::Error;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::check::number;
use super::world::Check;
use crate::edge::http::played;

/// Everything that came.
#[derive(Clone, Default)]
pub(super) struct Outside(Arc<Mutex<Got>>);

#[derive(Default)]
struct Got {
    /// What came under an id first.
    lines: BTreeMap<String, String>,
    /// The numbers of the records, by edge.
    numbers: BTreeMap<String, BTreeSet<u64>>,
    wrong: Option<String>,
}

impl Outside {
    /// Puts it in the place of everything outside, for the edges of this thread.
    pub(super) fn play(&self, seed: u64) {
        let (this, mut rng) = (self.clone(), StdRng::seed_from_u64(seed));
        played::play(Box::new(move |headers, body| {
            let after = Duration::from_millis(rng.random_range(1..80));
            let failed = Error::unavailable("the outside does not answer");
            match rng.random_range(0..10) {
                0 => (after, Err(failed)),
                1 => {
                    this.took(headers, body);
                    (after, Err(failed))
                }
                _ => {
                    this.took(headers, body);
                    (after, Ok(Default::default()))
                }
            }
        }));
    }

    fn took(&self, headers: &[(&'static str, String)], body: &[u8]) {
        let mut got = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(wrong) = got.take(headers, body) {
            got.wrong.get_or_insert(wrong);
        }
    }

    /// Whether an edge has delivered a record.
    pub(super) fn has(&self, edge: &str, number: u64) -> bool {
        let got = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        got.numbers.get(edge).is_some_and(|numbers| numbers.contains(&number))
    }

    /// Nothing that was written in a fork is outside, and whatever came twice was the same.
    pub(super) fn check(&self, elsewhere: &BTreeSet<u64>) -> Check {
        let got = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wrong) = &got.wrong {
            return Err(wrong.clone());
        }
        match got.numbers.iter().find_map(|(edge, numbers)| Some((edge, numbers.intersection(elsewhere).next()?))) {
            Some((edge, number)) => Err(format!("what was written in a fork is outside, edge={edge}, number={number}")),
            None => Ok(()),
        }
    }
}

impl Got {
    fn take(&mut self, headers: &[(&'static str, String)], body: &[u8]) -> Check {
        let key = headers.iter().find(|(name, _)| *name == "idempotency-key").map(|(_, key)| key.clone());
        let key = key.ok_or("a request to the outside has no idempotency key")?;
        let edge = key.split('/').next().unwrap_or_default().to_owned();
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        for (at, text) in text.lines().enumerate() {
            let line: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
            let id = line["id"].as_str().unwrap_or_default().to_owned();
            if at == 0 && id != format!("{key}/0") {
                return Err(format!("the idempotency key is not that of the first record, key={key}, id={id}"));
            }
            let number = line["payload"]["n"].as_u64();
            let number = number.unwrap_or_else(|| number_of(&line["text"]));
            self.numbers.entry(edge.clone()).or_default().insert(number);
            let first = self.lines.entry(id.clone()).or_insert_with(|| text.to_owned());
            if first != text {
                return Err(format!("two records came outside under one id, id={id}: {first} and {text}"));
            }
        }
        Ok(())
    }
}

fn number_of(text: &Value) -> u64 {
    number(text.as_str().unwrap_or_default().as_bytes())
}
