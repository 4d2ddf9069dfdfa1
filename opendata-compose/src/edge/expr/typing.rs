//! Types of expressions against a schema, found before anything runs.
//!
//! Not all of CEL is typed here: what cannot be told is `Any`, and shows itself when a record is met. What can be told for
//! certain to be wrong is refused: a field that the schema does not have, or a text where a number must stand.

use arrow_schema::DataType;
use cel::common::ast::{EntryExpr, Expr as Ast, LiteralValue};
use opendata_core::{Error, Result};

use super::Expr;
use crate::edge::schema::Schema;

/// What an expression gives, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Any,
    Bool,
    Number,
    Text,
    List,
    Object,
    Time,
}

impl Type {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64 => Self::Number,
            DataType::Utf8 => Self::Text,
            DataType::Timestamp(..) => Self::Time,
            DataType::List(_) => Self::List,
            DataType::Struct(_) => Self::Object,
            _ => Self::Any,
        }
    }

    /// Whether what gives `self` may stand where `wanted` must.
    fn may_be(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Any, _) | (_, Self::Any) => true,
            // A time is written as a number or a text, and either may be one.
            (Self::Time, Self::Number | Self::Text) | (Self::Number | Self::Text, Self::Time) => true,
            // Labels and ids take the text of a number or a boolean.
            (Self::Number | Self::Bool, Self::Text) => true,
            (have, wanted) => have == wanted,
        }
    }
}

/// Refuses an expression that cannot give what is wanted where it stands.
pub(crate) fn expect(field: &str, expr: &Expr, schema: Option<&Schema>, wanted: &Type) -> Result<()> {
    let found = infer(&expr.program.expression().expr, schema)
        .map_err(|error| error.context(format_args!("the expression of {field} ({})", expr.text)))?;
    if found.may_be(wanted) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the expression of {field} gives another type, expression={}, found={found:?}, wanted={wanted:?}",
        expr.text
    )))
}

fn infer(ast: &Ast, schema: Option<&Schema>) -> Result<Type> {
    if let (Some(path), Some(schema)) = (super::plain_path(ast), schema) {
        return schema.field(&path).map(|(data_type, _)| Type::of(&data_type));
    }
    Ok(match ast {
        Ast::Ident(name) => match name.as_str() {
            "stream" => Type::Text,
            "position" | "event_time" | "ingest_time" => Type::Number,
            "headers" => Type::Object,
            _ => Type::Any,
        },
        Ast::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Number,
            LiteralValue::String(_) => Type::Text,
            LiteralValue::Bytes(_) | LiteralValue::Null => Type::Any,
        },
        Ast::Select(select) => {
            // `has(payload.x)` asks for a field that the schema must know.
            if let (true, Some(mut path), Some(schema)) = (select.test, super::plain_path(&select.operand.expr), schema)
            {
                path.push(select.field.clone());
                schema.field(&path)?;
            } else {
                infer(&select.operand.expr, schema)?;
            }
            if select.test { Type::Bool } else { Type::Any }
        }
        Ast::Call(call) => {
            let mut parts = Vec::with_capacity(call.args.len());
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                parts.push(infer(&part.expr, schema)?);
            }
            call_type(&call.func_name, &parts)?
        }
        Ast::List(list) => {
            for element in &list.elements {
                infer(&element.expr, schema)?;
            }
            Type::List
        }
        Ast::Map(_) | Ast::Struct(_) => Type::Object,
        Ast::Comprehension(_) | Ast::Unspecified => Type::Any,
    })
}

fn call_type(name: &str, parts: &[Type]) -> Result<Type> {
    let refuse = |what: &str| Err(Error::invalid(format!("{what}, operator={name}, types={parts:?}")));
    let known = |part: &&Type| **part != Type::Any && **part != Type::Time;
    match name {
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => {
            let mut sides = parts.iter().filter(known);
            if let (Some(left), Some(right)) = (sides.next(), sides.next())
                && left != right
            {
                return refuse("two types cannot be compared");
            }
            Ok(Type::Bool)
        }
        "_&&_" | "_||_" | "!_" => match parts.iter().filter(known).find(|part| **part != Type::Bool) {
            Some(_) => refuse("a part is neither true nor false"),
            None => Ok(Type::Bool),
        },
        "_-_" | "_*_" | "_/_" | "_%_" | "-_" => match parts.iter().filter(known).find(|part| **part != Type::Number) {
            Some(_) => refuse("a part is no number"),
            None => Ok(Type::Number),
        },
        "size" | "int" | "double" | "uint" => Ok(Type::Number),
        "string" => Ok(Type::Text),
        "startsWith" | "endsWith" | "contains" | "matches" | "@in" => Ok(Type::Bool),
        _ => Ok(Type::Any),
    }
}

/// The names that macros such as `exists` and `map` bind within an expression.
pub(super) fn bound_names(ast: &Ast, names: &mut Vec<String>) {
    match ast {
        Ast::Call(call) => {
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                bound_names(&part.expr, names);
            }
        }
        Ast::Comprehension(of) => {
            names.extend([of.iter_var.clone(), of.accu_var.clone()]);
            names.extend(of.iter_var2.clone());
            for part in [&of.iter_range, &of.accu_init, &of.loop_cond, &of.loop_step, &of.result] {
                bound_names(&part.expr, names);
            }
        }
        Ast::List(list) => list.elements.iter().for_each(|element| bound_names(&element.expr, names)),
        Ast::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    bound_names(&entry.key.expr, names);
                    bound_names(&entry.value.expr, names);
                }
            }
        }
        Ast::Select(select) => bound_names(&select.operand.expr, names),
        Ast::Ident(_) | Ast::Literal(_) | Ast::Struct(_) | Ast::Unspecified => {}
    }
}
