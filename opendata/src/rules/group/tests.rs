//! Groups over a real instance: what is recorded, what alerts, and what is remembered over a restart.

use opendata_core::store::Store;
use opendata_tsdb::labels;

use super::super::alert::State;
use super::super::file;
use super::super::status::LastEvaluation;
use super::*;

const FILE: &str = "
groups:
- name: g
  interval: 10s
  rules:
  - record: job:m:sum
    expr: sum by (job) (m)
    labels: {team: a}
  - record: job:m:double
    expr: job:m:sum * 2
  - alert: High
    expr: m > 5
    for: 20s
    labels: {severity: page, job: '{{ $labels.job | toUpper }}'}
    annotations: {summary: '{{ $labels.job }} is {{ $value | humanize }}, in all {{ with query \"sum(m)\" }}{{ . | first | value }}{{ end }}'}
";

struct World {
    composite: InternalComposite,
    handle: Handle<Tsdb>,
    running: Running,
    status: Arc<GroupStatus>,
}

async fn world(store: &Store, file: &str) -> World {
    let builder = InternalComposite::builder(store, "x").system::<Tsdb>("usage", Default::default());
    let composite = builder.open().await.unwrap();
    let handle = composite.get::<Tsdb>("usage").unwrap();
    let group = file::parse(file, "rules.yml").unwrap().remove(0);
    let ground = Arc::new(Ground {
        composite: composite.clone(),
        handle: handle.clone(),
        settings: Settings { for_grace_period: Span::default(), ..Settings::default() },
        notifier: Notifier::default(),
        counters: Counters::default(),
        engine: Engine::default(),
    });
    let status = Arc::new(GroupStatus::new(group.clone(), Span::from_secs(10)));
    let running = Running::new(ground, group, Arc::clone(&status));
    World { composite, handle, running, status }
}

impl World {
    async fn write(&self, job: &str, at: i64, value: f64) {
        let mut transaction = self.composite.begin();
        let labels = labels! { "__name__" => "m", "job" => job };
        transaction.on(&self.handle).sample(labels, Timestamp(at * 1000), value);
        transaction.commit().await.unwrap();
    }

    async fn evaluate(&mut self, at: i64) -> LastEvaluation {
        self.running.evaluate(Timestamp(at * 1000)).await;
        self.status.last().unwrap()
    }

    /// `labels value` of each sample that a query gives.
    async fn query(&self, query: &str, at: i64) -> Vec<String> {
        let reader = self.composite.view().on(&self.handle).unwrap();
        match reader.query(query, Timestamp(at * 1000)).await.unwrap().value {
            Value::Vector(samples) => {
                samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_build_on_one_another_within_one_commit() {
    let store = Store::from_url("memory:").unwrap();
    let mut world = world(&store, FILE).await;
    world.write("a", 100, 1.0).await;
    world.write("b", 100, 2.0).await;
    let before = world.composite.view().position();
    let last = world.evaluate(100).await;
    assert!(last.rules.iter().all(|rule| rule.error.is_none()), "{last:?}");
    assert_eq!(world.composite.view().position().0, before.0 + 1);
    assert_eq!(
        world.query("{__name__=~'job:.*'}", 100).await,
        [
            r#"job:m:double{job="a", team="a"} 2"#,
            r#"job:m:double{job="b", team="a"} 4"#,
            r#"job:m:sum{job="a", team="a"} 1"#,
            r#"job:m:sum{job="b", team="a"} 2"#
        ]
    );
    // A series that is not given any more ends at once.
    world.write("b", 110, STALE_NAN).await;
    world.evaluate(110).await;
    assert_eq!(world.query("job:m:sum", 110).await, [r#"job:m:sum{job="a", team="a"} 1"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_waits_fires_and_goes_on_after_a_restart() {
    let store = Store::from_url("memory:").unwrap();
    let mut world = world(&store, FILE).await;
    world.write("a", 100, 6.0).await;
    world.write("b", 100, 1.0).await;
    let last = world.evaluate(100).await;
    let alert = &last.rules[2].alerts[0];
    assert_eq!((alert.state, alert.annotations["summary"].as_str()), (State::Pending, "a is 6, in all 7"));
    let told = r#"alertname="High", "#;
    assert_eq!(
        world.query("{__name__=~'ALERTS.*'}", 100).await,
        [
            format!(r#"ALERTS{{{told}alertstate="pending", job="A", severity="page"}} 1"#),
            format!(r#"ALERTS_FOR_STATE{{{told}job="A", severity="page"}} 100"#)
        ]
    );
    world.evaluate(110).await;
    world.composite.close().await.unwrap();

    // Away for 30 s: 10 s are left to wait.
    let mut world = self::world(&store, FILE).await;
    assert_eq!(world.evaluate(140).await.rules[2].alerts[0].state, State::Pending);
    let last = world.evaluate(150).await;
    assert_eq!((last.rules[2].alerts[0].state, last.rules[2].alerts[0].active_at), (State::Firing, Timestamp(130_000)));
    let firing = world.query("ALERTS", 150).await;
    assert_eq!(firing, [format!(r#"ALERTS{{{told}alertstate="firing", job="A", severity="page"}} 1"#)]);
    world.write("a", 155, 0.0).await;
    assert_eq!(world.evaluate(160).await.rules[2].alerts[0].state, State::Inactive);
    assert!(world.query("{__name__=~'ALERTS.*'}", 160).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_stops_no_other() {
    let file = "
groups:
- name: g
  limit: 1
  rules:
  - {record: r1, expr: 'm * on() group_left() m'}
  - {record: r2, expr: 'label_replace(m, \"job\", \"\", \"\", \"\")'}
  - {record: r3, expr: m}
  - {record: r4, expr: '5'}
";
    let store = Store::from_url("memory:").unwrap();
    let mut world = world(&store, file).await;
    world.write("a", 100, 1.0).await;
    world.write("b", 100, 2.0).await;
    let last = world.evaluate(100).await;
    let errors: Vec<_> = last.rules.iter().map(|rule| rule.error.clone().unwrap_or_default()).collect();
    assert!(!errors[0].is_empty() && !errors[1].is_empty(), "{errors:?}");
    assert_eq!((errors[2].as_str(), errors[3].as_str()), ("exceeded limit of 1 with 2 series", ""));
    assert_eq!(world.query("{__name__=~'r.'}", 100).await, ["r4 5"]);
}
