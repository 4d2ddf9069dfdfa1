use opendata_core::{DataSystem, ErrorKind};

use super::*;
use crate::schema::{Metric, Storage};
use crate::system::Vector;

fn config() -> Config {
    Config::default().vector("v", VectorField::new(3, Metric::L2)).attribute("kind", AttributeType::String)
}

#[test]
fn a_schema_may_grow_and_nothing_else() {
    let grown = config().text("body", TextField::default()).attribute("year", AttributeType::I64);
    assert!(Vector::reconfigure(&config(), &grown).is_ok());
    let other = [
        Config::default().vector("v", VectorField::new(3, Metric::L2)),
        Config::default().vector("v", VectorField::new(4, Metric::L2)).attribute("kind", AttributeType::String),
        config().vector("v", VectorField::new(3, Metric::L2).stored_as(Storage::F16)),
        config().attribute("kind", AttributeType::Bool),
    ];
    for new in other {
        assert_eq!(Vector::reconfigure(&config(), &new).unwrap_err().kind(), ErrorKind::Invalid, "{new:?}");
    }
}

#[test]
fn names_and_ranges_are_checked() {
    let wrong = [
        Config::default().attribute("", AttributeType::Bool),
        Config::default().attribute("1st", AttributeType::Bool),
        Config::default().attribute("a b", AttributeType::Bool),
        Config::default().attribute("v", AttributeType::Bool).vector("v", VectorField::new(1, Metric::L2)),
        Config::default().vector("v", VectorField::new(0, Metric::L2)),
        Config { cell_rows: 1, ..Config::default() },
    ];
    for config in wrong {
        assert_eq!(Vector::validate(&config).unwrap_err().kind(), ErrorKind::Invalid, "{config:?}");
    }
    assert!(Vector::validate(&config()).is_ok());
}
