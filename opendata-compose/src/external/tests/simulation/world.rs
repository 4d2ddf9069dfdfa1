//! The world: processes that own the nodes of one composition, and what is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opendata_core::Timestamp;
use opendata_core::slate::{Ack, Compression, Settings};
use opendata_core::store::Store;
use opendata_log::Log;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::check::Ledger;
use super::graph;
use super::machine::{Access, Machine, Trace};
use crate::control::{MAIN, State};
use crate::external::{Builder, ExternalComposite, Own};
use crate::internal::InternalComposite;
use crate::spec::Composition;

/// What was found wrong.
pub(super) type Check<T = ()> = Result<T, String>;

/// How often a process that cannot open its nodes is started again.
const STARTS: usize = 40;
/// After this nobody waits for a commit any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process of main.
pub(super) struct Process {
    pub(super) access: Access,
    pub(super) nodes: BTreeSet<String>,
    pub(super) main: ExternalComposite,
}

/// A record that shall be appended.
struct Record {
    number: u64,
    payload: String,
    ack: Ack,
    pause: Duration,
}

/// A record that was appended, and whether it is known to be durable.
pub(super) struct Appended {
    pub(super) node: String,
    pub(super) number: u64,
    pub(super) durable: bool,
}

pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) machine: Machine,
    pub(super) spec: Composition,
    pub(super) processes: Vec<Process>,
    /// Processes whose nodes were taken over while they slept.
    pub(super) zombies: Vec<(Access, ExternalComposite)>,
    pub(super) observer: ExternalComposite,
    pub(super) ledger: Ledger,
    next: u64,
}

fn settings() -> Settings {
    Settings {
        maintenance_interval_ms: 2_000,
        flush_interval_ms: 20,
        poll_interval_ms: 1_000,
        store_retries: 1,
        files_timeout_ms: 5_000,
        memtable_bytes: 64 * 1024,
        unflushed_bytes: 1 << 20,
        compression: Compression::None,
        ..Settings::default()
    }
}

/// How a process opens the composition.
pub(super) fn describe(store: &Store, access: Option<&Access>, machine: &Machine) -> Builder {
    let builder = ExternalComposite::builder(store, "c").settings(settings()).poll(Duration::from_millis(200));
    match access {
        Some(access) => builder.owner(&access.name).env(access.env.clone()),
        None => builder.owner("observer").env(machine.env()),
    }
}

impl World {
    pub(super) async fn new(seed: u64, trace: Trace) -> Check<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut machine = Machine::new(seed, trace);
        let ledger = Ledger::default();
        ledger.outside.play(seed);
        let spec = graph::random(&mut rng);
        let edges: Vec<_> = spec.edges.iter().map(|edge| edge.id.as_str()).collect();
        machine.say(&format!("edges: {}", edges.join(" ")));
        let mut owned = [BTreeSet::new(), BTreeSet::new()];
        for node in graph::NODES {
            // And what may be split off it.
            let side = &mut owned[usize::from(rng.random_bool(0.5))];
            side.extend([node.to_owned(), graph::part(node)]);
        }
        let mut processes = Vec::new();
        for (number, nodes) in owned.into_iter().enumerate() {
            let access = machine.process(&format!("p{number}"));
            let builder = describe(&access.store, Some(&access), &machine).own(Own::Nodes(nodes.clone()));
            let main = builder.open_as(&spec).await.map_err(|error| format!("cannot begin: {error}"))?;
            processes.push(Process { access, nodes, main });
        }
        let observer = describe(machine.quiet(), None, &machine).attach().await.map_err(|error| error.to_string())?;
        Ok(Self { rng, machine, spec, processes, zombies: Vec::new(), observer, ledger, next: 0 })
    }

    /// What the control log says.
    pub(super) async fn state(&self) -> Check<std::sync::Arc<State>> {
        self.observer.control().refresh().await.map_err(|error| format!("the control log cannot be read: {error}"))
    }

    /// Where main's slates lie.
    pub(super) async fn paths(&self) -> Check<BTreeMap<String, String>> {
        Ok(self.state().await?.branch(MAIN).map_err(|error| error.to_string())?.nodes.clone())
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn any_process(&mut self) -> usize {
        self.rng.random_range(0..self.processes.len())
    }

    /// The nodes of main with a log that are open somewhere.
    pub(super) fn open_nodes(&self) -> Vec<(String, InternalComposite)> {
        let of = |process: &Process| {
            let open = process.nodes.iter().filter_map(|node| Some((node.clone(), process.main.node(node).ok()?)));
            open.collect::<Vec<_>>()
        };
        let all = self.processes.iter().flat_map(of);
        all.filter(|(node, _)| graph::NODES.contains(&node.as_str())).collect()
    }

    /// Begins to append a few records to nodes, side by side with whatever comes next.
    pub(super) fn burst(
        &mut self,
        nodes: Vec<(String, InternalComposite)>,
        most: usize,
    ) -> tokio::task::JoinHandle<Vec<Appended>> {
        let mut plan = Vec::new();
        for _ in 0..self.rng.random_range(1..=most) {
            let Some((node, composite)) = nodes.choose(&mut self.rng).cloned() else { break };
            plan.push((node, composite, self.record()));
        }
        tokio::spawn(async move {
            let mut appended = Vec::new();
            for (node, composite, record) in plan {
                appended.push(append(node, &composite, record).await);
            }
            appended
        })
    }

    /// Begins to append records to a node of main, each to whatever is open for it by then.
    pub(super) fn burst_on(&mut self, node: &str, records: usize) -> tokio::task::JoinHandle<Vec<Appended>> {
        let records: Vec<_> = (0..records).map(|_| self.record()).collect();
        let mains: Vec<_> = self.processes.iter().map(|process| process.main.clone()).collect();
        let node = node.to_owned();
        tokio::spawn(async move {
            let mut appended = Vec::new();
            for record in records {
                match mains.iter().find_map(|main| main.node(&node).ok()) {
                    Some(open) => appended.push(append(node.clone(), &open, record).await),
                    None => tokio::time::sleep(record.pause).await,
                }
            }
            appended
        })
    }

    fn record(&mut self) -> Record {
        let number = self.number();
        let k = self.rng.random_range(0..5_u32);
        let payload = match self.rng.random_bool(0.1) {
            true => format!("{number} no json"),
            false => format!(r#"{{"n": {number}, "k": {k}}}"#),
        };
        let ack = if self.rng.random_bool(0.3) { Ack::Written } else { Ack::Durable };
        let pause = Duration::from_millis(self.rng.random_range(0..150));
        Record { number, payload, ack, pause }
    }

    /// Appends to main while nothing else happens.
    pub(super) async fn append(&mut self, most: usize) -> Check {
        let nodes = self.open_nodes();
        let burst = self.burst(nodes, most);
        self.appended(burst).await
    }

    /// Waits for what a burst has done.
    pub(super) async fn appended(&mut self, burst: tokio::task::JoinHandle<Vec<Appended>>) -> Check {
        for appended in burst.await.map_err(|error| error.to_string())? {
            let Appended { node, number, durable } = &appended;
            self.machine.say(&format!("appended {number} to {node}, durable: {durable}"));
            self.ledger.appended(&appended);
        }
        Ok(())
    }

    /// A process dies, and comes back under its name.
    pub(super) async fn restart(&mut self, at: usize) -> Check {
        let process = self.processes.get(at).ok_or("no process")?;
        process.access.kill();
        let (name, nodes) = (process.access.name.clone(), process.nodes.clone());
        self.machine.say(&format!("{name} is killed"));
        let new = self.start(&name, nodes).await?;
        self.processes[at] = new;
        Ok(())
    }

    /// Starts a process that owns nodes of main.
    pub(super) async fn start(&mut self, name: &str, nodes: BTreeSet<String>) -> Check<Process> {
        let mut why = String::new();
        for _ in 0..STARTS {
            let access = self.machine.process(name);
            let builder = describe(&access.store, Some(&access), &self.machine).own(Own::Nodes(nodes.clone()));
            match tokio::time::timeout(PATIENCE, builder.open()).await {
                Ok(Ok(main)) => return Ok(Process { access, nodes, main }),
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => "it took too long".clone_into(&mut why),
            }
            access.kill();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(format!("a process cannot be started: {name}: {why}"))
    }

    pub(super) fn calm(&self) {
        self.processes.iter().for_each(|process| process.access.calm());
    }

    pub(super) fn now(&self) -> Timestamp {
        self.machine.now()
    }
}

/// Appends a record, and pauses.
async fn append(node: String, composite: &InternalComposite, record: Record) -> Appended {
    let Record { number, payload, ack, pause } = record;
    let committed = async {
        let log = composite.get::<Log>("l")?;
        let mut tx = composite.begin();
        tx.on(&log).append("own", payload);
        tx.commit_with(ack).await?;
        Ok::<_, opendata_core::Error>(())
    };
    let outcome = tokio::time::timeout(PATIENCE, committed).await;
    tokio::time::sleep(pause).await;
    Appended { node, number, durable: ack == Ack::Durable && matches!(outcome, Ok(Ok(()))) }
}
