//! Expanding a template.

use super::function;
use super::parse::{Branch, Command, Defined, Node, Operand, Pipeline};
use super::{Scope, Value};

/// How long a text may become, and how deep templates may call one another.
const MOST_BYTES: usize = 1 << 20;
const DEEPEST: usize = 32;
/// How many nodes may be visited.
const MOST_STEPS: usize = 1_000_000;

type Outcome<T> = Result<T, String>;

/// How a block was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

pub(super) fn expand(body: &[Node], defined: &Defined, scope: &Scope<'_>) -> Outcome<String> {
    let variables = scope.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let variables = std::iter::once(("$".to_owned(), scope.data.clone())).chain(variables).collect();
    let mut eval = Eval { defined, scope, variables, text: String::new(), depth: 0, steps: 0 };
    eval.block(body, &scope.data)?;
    Ok(eval.text)
}

struct Eval<'a> {
    defined: &'a Defined,
    scope: &'a Scope<'a>,
    variables: Vec<(String, Value)>,
    text: String,
    depth: usize,
    steps: usize,
}

impl Eval<'_> {
    /// Expands nodes; variables that they declare are gone behind them.
    fn block(&mut self, nodes: &[Node], dot: &Value) -> Outcome<Flow> {
        let outer = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Outcome<Flow> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.text.len() > MOST_BYTES {
            return Err("the text becomes too long".to_owned());
        }
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.text.push_str(&value.show());
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot).map(|()| Flow::On),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Template(name, on) => {
                let value = match on {
                    Some(on) => self.pipeline(on, dot)?,
                    None => Value::Nil,
                };
                self.template(name, &value)?;
            }
        }
        Ok(Flow::On)
    }

    /// Expands another template, which sees nothing but its value.
    fn template(&mut self, name: &str, value: &Value) -> Outcome<()> {
        let defined = self.defined;
        let body = defined.get(name).ok_or_else(|| format!("there is no template of this name, template={name:?}"))?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("templates call one another too deep".to_owned());
        }
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), value.clone())]);
        let done = self.block(body, value);
        self.variables = outer;
        self.depth -= 1;
        done.map(|_| ())
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, moves: bool) -> Outcome<Flow> {
        let outer = self.variables.len();
        let value = self.pipeline(&branch.on, dot)?;
        let flow = match value.is_true() {
            true => self.block(&branch.then, if moves { &value } else { dot }),
            false => self.block(&branch.otherwise, dot),
        };
        self.variables.truncate(outer);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Outcome<()> {
        let outer = self.variables.len();
        let of = self.pipeline_value(&branch.on, dot)?;
        let items: Vec<(Value, Value)> = match &of {
            Value::List(list) => list
                .iter()
                .enumerate()
                .map(|(at, item)| (Value::Int(i64::try_from(at).unwrap_or(i64::MAX)), item.clone()))
                .collect(),
            Value::Map(map) => map.iter().map(|(name, value)| (Value::text(name), value.clone())).collect(),
            Value::Int(count) => (0..(*count).min(1_000_000)).map(|at| (Value::Int(at), Value::Int(at))).collect(),
            Value::Nil => Vec::new(),
            other => return Err(format!("line {}: cannot go through {}", branch.on.line, other.kind())),
        };
        if items.is_empty() {
            self.block(&branch.otherwise, dot)?;
        }
        for (key, item) in items {
            match branch.on.variables.as_slice() {
                [value] => self.set(value, item.clone(), branch.on.declares)?,
                [name, value] => {
                    self.set(name, key, branch.on.declares)?;
                    self.set(value, item.clone(), branch.on.declares)?;
                }
                _ => {}
            }
            let flow = self.block(&branch.then, &item)?;
            if branch.on.declares {
                self.variables.truncate(outer);
            }
            if flow == Flow::Break {
                break;
            }
        }
        self.variables.truncate(outer);
        Ok(())
    }

    /// The value of a pipeline, with its variable set.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        let value = self.pipeline_value(pipeline, dot)?;
        match pipeline.variables.as_slice() {
            [] => {}
            [name] => self.set(name, value.clone(), pipeline.declares)?,
            _ => return Err(format!("line {}: only `range` sets two variables", pipeline.line)),
        }
        Ok(value)
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) -> Outcome<()> {
        if declares {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, known)) => {
                *known = value;
                Ok(())
            }
            None => Err(format!("undefined variable {name}")),
        }
    }

    fn pipeline_value(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        let mut last = None;
        for command in &pipeline.commands {
            let value = self.command(command, dot, last.take());
            last = Some(value.map_err(|what| match what.starts_with("line ") {
                true => what,
                false => format!("line {}: {what}", pipeline.line),
            })?);
        }
        last.ok_or_else(|| format!("line {}: a value is missing", pipeline.line))
    }

    fn command(&mut self, Command(operands): &Command, dot: &Value, last: Option<Value>) -> Outcome<Value> {
        let (first, rest) = operands.split_first().ok_or("a value is missing")?;
        let Operand::Function(name) = first else {
            if !rest.is_empty() || last.is_some() {
                return Err("only functions have arguments".to_owned());
            }
            return self.operand(first, dot);
        };
        if matches!(name.as_str(), "and" | "or") {
            return self.logic(name, rest, last, dot);
        }
        let mut args = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(last);
        if name == "tmpl" {
            let [template, value] = args.as_slice() else { return Err("tmpl needs a name and a value".to_owned()) };
            let outer = std::mem::take(&mut self.text);
            let done = self.template(&function::text(template)?, value);
            let inner = std::mem::replace(&mut self.text, outer);
            return done.map(|()| Value::text(inner));
        }
        function::call(name, &args, self.scope)
    }

    /// `and` gives the first value that is empty, `or` the first that is not; what stands behind it is not asked for.
    fn logic(&mut self, name: &str, operands: &[Operand], last: Option<Value>, dot: &Value) -> Outcome<Value> {
        let mut found = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if value.is_true() == (name == "or") {
                return Ok(value);
            }
            found = Some(value);
        }
        last.or(found).ok_or_else(|| format!("{name} needs an argument"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Outcome<Value> {
        match operand {
            Operand::Function(name) => match name.as_str() {
                "and" | "or" | "tmpl" => Err(format!("{name} needs arguments")),
                name => function::call(name, &[], self.scope),
            },
            Operand::Field(fields) => within(dot.clone(), fields),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found.ok_or_else(|| format!("undefined variable {name}"))?;
                within(value.clone(), fields)
            }
            Operand::Text(text) => Ok(Value::text(text)),
            Operand::Int(number) => Ok(Value::Int(*number)),
            Operand::Float(number) => Ok(Value::Float(*number)),
            Operand::Bool(value) => Ok(Value::Bool(*value)),
            Operand::Nil => Ok(Value::Nil),
            Operand::Nested(pipeline, fields) => within(self.pipeline_value(pipeline, dot)?, fields),
        }
    }
}

fn within(value: Value, fields: &[String]) -> Outcome<Value> {
    fields.iter().try_fold(value, |value, field| match value {
        Value::Map(_) => function::index(&value, &Value::text(field)),
        other => Err(format!("{} has no field, field={field}", other.kind())),
    })
}
