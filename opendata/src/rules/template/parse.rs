//! The tree of a template.

use std::collections::BTreeMap;

use super::lex::{Piece, Word, pieces};

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// A pipeline whose value is written, unless it only sets a variable.
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
    /// `template "name" pipeline`
    Template(String, Option<Pipeline>),
}

/// What depends on a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Branch {
    pub(super) on: Pipeline,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// Commands of which each gets the value of the one before as its last argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipeline {
    pub(super) line: usize,
    /// Variables that are set, and whether they are new.
    pub(super) variables: Vec<String>,
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
}

/// A function with its arguments, or one value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command(pub(super) Vec<Operand>);

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Function(String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    Nested(Pipeline, Vec<String>),
}

pub(super) type Defined = BTreeMap<String, Vec<Node>>;

/// How deep blocks and parentheses may stand in one another.
const DEEPEST: usize = 64;

/// Reads a template: its body, and the templates it defines.
pub(super) fn parse(text: &str) -> Result<(Vec<Node>, Defined), String> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter(), defined: Defined::new(), depth: 0, loops: 0 };
    let (body, end) = parser.block()?;
    match end {
        End::Text => Ok((body, parser.defined)),
        End::Else(_, line) | End::Closed(line) => Err(format!("line {line}: nothing is open that could end here")),
    }
}

/// How a block ends.
enum End {
    Text,
    /// What stands behind `else`, and its line.
    Else(Vec<Word>, usize),
    Closed(usize),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    defined: Defined,
    depth: usize,
    loops: usize,
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, End), String> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (words, line) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(words, line) => (words, line),
            };
            let keyword = match words.first() {
                Some(Word::Name(name)) => name.as_str(),
                _ => "",
            };
            let rest = || words.get(1..).unwrap_or_default().to_vec();
            match keyword {
                "end" => return Ok((nodes, End::Closed(line))),
                "else" => return Ok((nodes, End::Else(rest(), line))),
                "if" | "with" | "range" => nodes.push(self.branch(keyword, rest(), line)?),
                "define" => self.define(&rest(), line)?,
                "break" if self.loops > 0 => nodes.push(Node::Break),
                "continue" if self.loops > 0 => nodes.push(Node::Continue),
                "template" => nodes.push(template(&rest(), line)?),
                _ => nodes.push(Node::Action(pipeline(&words, line)?)),
            }
        }
        Ok((nodes, End::Text))
    }

    fn deeper<T>(&mut self, line: usize, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("line {line}: blocks stand too deep in one another"));
        }
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn branch(&mut self, keyword: &str, words: Vec<Word>, line: usize) -> Result<Node, String> {
        let is_range = keyword == "range";
        let on = pipeline(&words, line)?;
        self.loops += usize::from(is_range);
        let (then, end) = self.deeper(line, Self::block)?;
        self.loops -= usize::from(is_range);
        let otherwise = match end {
            End::Closed(_) => Vec::new(),
            End::Text => return Err(format!("line {line}: `{keyword}` has no end")),
            End::Else(words, line) => match words.split_first() {
                None => match self.deeper(line, Self::block)? {
                    (nodes, End::Closed(_)) => nodes,
                    (_, End::Text) => return Err(format!("line {line}: `else` has no end")),
                    (_, End::Else(_, line)) => return Err(format!("line {line}: a second `else`")),
                },
                Some((Word::Name(word), rest)) if word == keyword && !is_range => {
                    vec![self.deeper(line, |parser| parser.branch(keyword, rest.to_vec(), line))?]
                }
                Some(_) => return Err(format!("line {line}: unexpected words behind `else`")),
            },
        };
        let branch = Branch { on, then, otherwise };
        Ok(match keyword {
            "if" => Node::If(branch),
            "with" => Node::With(branch),
            _ => Node::Range(branch),
        })
    }

    fn define(&mut self, words: &[Word], line: usize) -> Result<(), String> {
        let [Word::Text(name)] = words else { return Err(format!("line {line}: `define` needs a name in quotes")) };
        match self.deeper(line, Self::block)? {
            (body, End::Closed(_)) => {
                self.defined.insert(name.clone(), body);
                Ok(())
            }
            _ => Err(format!("line {line}: `define` has no end")),
        }
    }
}

fn template(words: &[Word], line: usize) -> Result<Node, String> {
    match words.split_first() {
        Some((Word::Text(name), [])) => Ok(Node::Template(name.clone(), None)),
        Some((Word::Text(name), rest)) => Ok(Node::Template(name.clone(), Some(pipeline(rest, line)?))),
        _ => Err(format!("line {line}: `template` needs a name in quotes")),
    }
}

/// A pipeline, with the variables that it sets.
fn pipeline(words: &[Word], line: usize) -> Result<Pipeline, String> {
    let variable = |word: &Word| match word {
        Word::Variable(name, fields) if fields.is_empty() && name.len() > 1 => Some(name.clone()),
        _ => None,
    };
    let (variables, declares, rest) = match words {
        [a, Word::Declare, rest @ ..] => (vec![variable(a)], true, rest),
        [a, Word::Assign, rest @ ..] => (vec![variable(a)], false, rest),
        [a, Word::Comma, b, Word::Declare, rest @ ..] => (vec![variable(a), variable(b)], true, rest),
        [a, Word::Comma, b, Word::Assign, rest @ ..] => (vec![variable(a), variable(b)], false, rest),
        rest => (Vec::new(), false, rest),
    };
    let variables: Option<Vec<String>> = variables.into_iter().collect();
    let variables = variables.ok_or_else(|| format!("line {line}: only variables can be set"))?;
    let (commands, rest) = commands(rest, line, 0)?;
    if !rest.is_empty() {
        return Err(format!("line {line}: a parenthesis is closed that was not opened"));
    }
    Ok(Pipeline { line, variables, declares, commands })
}

type Commands<'a> = (Vec<Command>, &'a [Word]);

/// Commands up to the end or a closing parenthesis, which is left.
fn commands(mut words: &[Word], line: usize, depth: usize) -> Result<Commands<'_>, String> {
    if depth > DEEPEST {
        return Err(format!("line {line}: parentheses stand too deep in one another"));
    }
    let (mut commands, mut operands) = (Vec::new(), Vec::new());
    while let Some((word, rest)) = words.split_first() {
        if matches!(word, Word::Close(_)) {
            break;
        }
        words = rest;
        match word {
            Word::Pipe => {
                if operands.is_empty() {
                    return Err(format!("line {line}: nothing stands before `|`"));
                }
                commands.push(Command(std::mem::take(&mut operands)));
            }
            Word::Open => {
                let (inner, rest) = self::commands(words, line, depth + 1)?;
                let Some((Word::Close(fields), rest)) = rest.split_first() else {
                    return Err(format!("line {line}: a parenthesis is not closed"));
                };
                let inner = Pipeline { line, variables: Vec::new(), declares: false, commands: inner };
                operands.push(Operand::Nested(inner, fields.clone()));
                words = rest;
            }
            word => operands.push(operand(word, line)?),
        }
    }
    Ok((finish(commands, operands, line)?, words))
}

fn finish(mut commands: Vec<Command>, operands: Vec<Operand>, line: usize) -> Result<Vec<Command>, String> {
    if operands.is_empty() {
        return Err(format!("line {line}: a value is missing"));
    }
    commands.push(Command(operands));
    Ok(commands)
}

fn operand(word: &Word, line: usize) -> Result<Operand, String> {
    Ok(match word {
        Word::Name(name) => match name.as_str() {
            "true" => Operand::Bool(true),
            "false" => Operand::Bool(false),
            "nil" => Operand::Nil,
            name if super::function::is_known(name) => Operand::Function(name.to_owned()),
            name => return Err(format!("line {line}: there is no function of this name, function={name}")),
        },
        Word::Field(fields) => Operand::Field(fields.clone()),
        Word::Variable(name, fields) => Operand::Variable(name.clone(), fields.clone()),
        Word::Text(text) => Operand::Text(text.clone()),
        Word::Int(number) => Operand::Int(*number),
        Word::Float(number) => Operand::Float(*number),
        word => return Err(format!("line {line}: unexpected {word:?}")),
    })
}
