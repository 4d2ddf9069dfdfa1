//! Systems without their types, so that one committer can hold several.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::context::{ApplyContext, PrepareContext};
use super::registry::{Instance, parse_config};
use super::view::{AnyState, View};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::key::{SegmentId, SystemId};
use crate::system::{DataSystem, Operation, SystemWriter};
use crate::time::Position;

/// An operation of some system.
pub(crate) trait AnyOp: Send + Sync {
    fn size_bytes(&self) -> usize;
    fn is_empty(&self) -> bool;
    fn as_any(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

impl<T: Operation> AnyOp for T {
    fn size_bytes(&self) -> usize {
        Operation::size_bytes(self)
    }

    fn is_empty(&self) -> bool {
        Operation::is_empty(self)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

pub(crate) type AnyReceipt = Arc<dyn Any + Send + Sync>;

/// A writer of some system, which also holds the plan between its two steps.
#[async_trait]
pub(crate) trait AnyWriter: Send {
    async fn prepare(&mut self, op: Box<dyn Any + Send>, cx: &PrepareContext<'_>) -> Result<()>;
    fn apply(&mut self, cx: &mut ApplyContext<'_>) -> Option<AnyReceipt>;
    fn forget(&mut self);
    fn finish(&mut self, cx: &mut ApplyContext<'_>);
    fn publish(&mut self, position: Position) -> AnyState;
}

struct Planned<W: SystemWriter> {
    writer: W,
    plan: Option<W::Plan>,
}

#[async_trait]
impl<W: SystemWriter> AnyWriter for Planned<W> {
    async fn prepare(&mut self, op: Box<dyn Any + Send>, cx: &PrepareContext<'_>) -> Result<()> {
        let op = op.downcast::<W::Op>().map_err(|_| Error::invalid("operation belongs to another system"))?;
        self.plan = Some(self.writer.prepare(*op, cx).await?);
        Ok(())
    }

    fn apply(&mut self, cx: &mut ApplyContext<'_>) -> Option<AnyReceipt> {
        let plan = self.plan.take()?;
        Some(Arc::new(self.writer.apply(plan, cx)))
    }

    fn forget(&mut self) {
        self.plan = None;
    }

    fn finish(&mut self, cx: &mut ApplyContext<'_>) {
        self.writer.finish(cx);
    }

    fn publish(&mut self, position: Position) -> AnyState {
        self.writer.publish(position)
    }
}

/// A registered system.
#[async_trait]
pub(crate) trait AnySystem: Send + Sync {
    fn id(&self) -> SystemId;
    fn name(&self) -> &'static str;
    fn version(&self) -> u8;
    fn parse_config(&self, name: &str, json: &str) -> Result<Arc<dyn Any + Send + Sync>>;
    fn reconfigure(&self, name: &str, old: &str, new: &str) -> Result<()>;
    fn merge(&self, key: &[u8], existing: Option<&[u8]>, operands: &[Bytes]) -> Result<Bytes>;
    fn filter_prefix_len(&self, key: &[u8]) -> Option<usize>;
    fn describe(&self, key: &[u8], value: &[u8]) -> Result<String>;
    async fn recover(&self, view: &View, instance: &Arc<Instance>, env: Env) -> Result<Box<dyn AnyWriter>>;
    async fn maintain(&self, view: &View, instance: &Arc<Instance>) -> Result<Option<Box<dyn AnyOp>>>;
    async fn first_live_segment(&self, view: &View, instance: &Arc<Instance>) -> Result<SegmentId>;
}

pub(crate) struct SystemOf<S>(PhantomData<fn() -> S>);

impl<S: DataSystem> SystemOf<S> {
    pub(crate) fn shared() -> Arc<dyn AnySystem> {
        Arc::new(Self(PhantomData))
    }
}

#[async_trait]
impl<S: DataSystem> AnySystem for SystemOf<S> {
    fn id(&self) -> SystemId {
        S::ID
    }

    fn name(&self) -> &'static str {
        S::NAME
    }

    fn version(&self) -> u8 {
        S::VERSION
    }

    fn parse_config(&self, name: &str, json: &str) -> Result<Arc<dyn Any + Send + Sync>> {
        let config = parse_config::<S>(name, json)?;
        S::validate(&config).map_err(|error| error.context(format_args!("instance {name}")))?;
        Ok(Arc::new(config))
    }

    fn reconfigure(&self, name: &str, old: &str, new: &str) -> Result<()> {
        let (old, new) = (parse_config::<S>(name, old)?, parse_config::<S>(name, new)?);
        S::reconfigure(&old, &new).map_err(|error| error.context(format_args!("instance {name}")))
    }

    fn merge(&self, key: &[u8], existing: Option<&[u8]>, operands: &[Bytes]) -> Result<Bytes> {
        S::merge(key, existing, operands)
    }

    fn filter_prefix_len(&self, key: &[u8]) -> Option<usize> {
        S::filter_prefix_len(key)
    }

    fn describe(&self, key: &[u8], value: &[u8]) -> Result<String> {
        S::describe(key, value)
    }

    async fn recover(&self, view: &View, instance: &Arc<Instance>, env: Env) -> Result<Box<dyn AnyWriter>> {
        let writer = S::recover(view.instance_view::<S>(instance)?, env).await?;
        Ok(Box::new(Planned { writer, plan: None }))
    }

    async fn maintain(&self, view: &View, instance: &Arc<Instance>) -> Result<Option<Box<dyn AnyOp>>> {
        let op = S::maintain(view.instance_view::<S>(instance)?).await?;
        Ok(op.map(|op| Box::new(op) as Box<dyn AnyOp>))
    }

    async fn first_live_segment(&self, view: &View, instance: &Arc<Instance>) -> Result<SegmentId> {
        S::first_live_segment(view.instance_view::<S>(instance)?).await
    }
}
