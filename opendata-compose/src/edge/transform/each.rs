//! Transforms written as a function of one record.

use async_trait::async_trait;
use opendata_core::Result;
use opendata_log::Record;

use super::{Kind, Output, Outputs, Transform, Windowed};
use crate::edge::spec::Digest;

/// A transform out of a function; see [`each`].
pub struct Each<F> {
    kind: Kind,
    digest: Digest,
    windows: Vec<Windowed>,
    make: F,
}

/// A transform that calls a function for each record. The function pushes what it makes, and a text that it returns as an error is the reason why
/// the record does not fit. `name` identifies what the function does, its version included: change it whenever the function changes.
///
/// ```
/// use opendata_compose::edge::transform::{Kind, Output, each};
/// use opendata_compose::log::NewRecord;
///
/// let upper = each("upper case/1", Kind::Records, |record, out| {
///     let text = std::str::from_utf8(&record.payload).map_err(|_| "not a text".to_owned())?;
///     out.push(Output::Append(record.stream.clone(), NewRecord::new(text.to_uppercase())));
///     Ok(())
/// });
/// # let _ = upper;
/// ```
pub fn each<F>(name: &str, kind: Kind, make: F) -> Each<F>
where
    F: Fn(&Record, &mut Vec<Output>) -> Result<(), String> + Send + Sync + 'static,
{
    Each { kind, digest: Digest::of(name), windows: Vec::new(), make }
}

impl<F> Each<F> {
    /// The windowed metrics that its [`Output::Observe`]s speak of.
    #[must_use]
    pub fn with_windows(mut self, windows: impl IntoIterator<Item = Windowed>) -> Self {
        self.windows = windows.into_iter().collect();
        self
    }
}

#[async_trait]
impl<F> Transform for Each<F>
where
    F: Fn(&Record, &mut Vec<Output>) -> Result<(), String> + Send + Sync + 'static,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn windows(&self) -> &[Windowed] {
        &self.windows
    }

    async fn apply(&self, records: &[Record], outputs: &mut Outputs) -> Result<()> {
        let mut made = Vec::new();
        for (index, record) in records.iter().enumerate() {
            match (self.make)(record, &mut made) {
                Ok(()) => made.drain(..).for_each(|output| outputs.push(index, output)),
                Err(reason) => {
                    made.clear();
                    outputs.refuse(index, reason);
                }
            }
        }
        Ok(())
    }
}
