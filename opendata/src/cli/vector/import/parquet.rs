//! Parquet: columns as the fields of documents.
//!
//! The library decodes in a thread of its own, which is ahead of the writer by a few batches. A row that does not fit is left out
//! like any other wrong row; a file that cannot be read ends the import.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use opendata_compose::vector::{AttributeType, Document, Schema, SparseVector, Value as Attribute};
use opendata_core::{Error, Result, Timestamp};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, List};
use parquet::schema::types::{ColumnDescriptor, Type};
use tokio::sync::mpsc;

use super::rows::Row;
use crate::api::bytes::Text;
use crate::api::vector::{Field as Value, Kind, kind};

/// Rows that are handed over at a time, and how many times that are read ahead.
const ROWS: usize = 256;
const READ_AHEAD: usize = 8;
/// The column, and the name behind `=`, that is the document's id.
const ID: &str = "id";

/// The rows of a file.
pub(super) struct Parquet {
    rows: mpsc::Receiver<Result<Vec<Row>>>,
    /// As many as the file says.
    left: u64,
    pub(super) row_bytes: u64,
    pub(super) size_bytes: u64,
}

/// What is read of a row, in the order of the columns.
struct Column {
    field: String,
    /// None: the id.
    kind: Option<Kind>,
    /// It counts nanoseconds without saying so in each value.
    is_nanoseconds: bool,
}

impl Parquet {
    /// Begins to read the columns that are named, `COLUMN` or `COLUMN=FIELD`; all of them if none is.
    pub(super) fn open(path: &Path, schema: Schema, names: &[String]) -> Result<Self> {
        let unreadable = |error: std::io::Error| {
            Error::invalid(format!("file cannot be read, file={}", path.display())).with_source(error)
        };
        let file = File::open(path).map_err(unreadable)?;
        let size_bytes = file.metadata().map_err(unreadable)?.len();
        let reader = SerializedFileReader::new(file).map_err(|error| {
            Error::invalid(format!("not a Parquet file, file={}", path.display())).with_source(error)
        })?;
        let (columns, wanted) = columns(&reader, &schema, names)?;
        let rows = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
        let iter = RowIter::from_file_into(Box::new(reader)).project(Some(wanted)).map_err(broken)?;
        let (sender, received) = mpsc::channel(READ_AHEAD);
        std::thread::spawn(move || {
            let mut batch = Vec::with_capacity(ROWS);
            for row in iter {
                match row {
                    Ok(row) => batch.push(document(&schema, &columns, row.into_columns())),
                    Err(error) => {
                        if !batch.is_empty() {
                            let _ = sender.blocking_send(Ok(batch));
                        }
                        let _ = sender.blocking_send(Err(broken(error)));
                        return;
                    }
                }
                if batch.len() == ROWS && sender.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                    return;
                }
            }
            let _ = sender.blocking_send(Ok(batch));
        });
        Ok(Self { rows: received, left: rows, row_bytes: size_bytes / rows.max(1), size_bytes })
    }

    /// Some of the next rows; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Row>> {
        if self.left == 0 {
            return Ok(Vec::new());
        }
        match self.rows.recv().await {
            Some(Ok(rows)) if !rows.is_empty() => {
                self.left = self.left.saturating_sub(rows.len() as u64);
                Ok(rows)
            }
            Some(Err(error)) => Err(error),
            _ => Err(Error::invalid(format!("the Parquet file ends too early, rows_missing={}", self.left))),
        }
    }
}

fn broken(error: parquet::errors::ParquetError) -> Error {
    Error::invalid("the Parquet file cannot be read").with_source(error)
}

/// What the columns become, and which of them are read.
fn columns(reader: &dyn FileReader, schema: &Schema, names: &[String]) -> Result<(Vec<Column>, Type)> {
    let descriptor = reader.metadata().file_metadata().schema_descr_ptr();
    let root = descriptor.root_schema();
    let asked: Vec<(&str, &str)> =
        names.iter().map(|name| name.split_once('=').unwrap_or((name.as_str(), name.as_str()))).collect();
    if let Some((missing, _)) = asked.iter().find(|(name, _)| !root.get_fields().iter().any(|of| of.name() == *name)) {
        return Err(Error::invalid(format!("the Parquet file has no such column, column={missing}")));
    }
    let (mut columns, mut wanted) = (Vec::new(), Vec::new());
    for of in root.get_fields() {
        let field = match asked.iter().find(|(name, _)| *name == of.name()) {
            Some((_, field)) => *field,
            None if asked.is_empty() => of.name(),
            None => continue,
        };
        let kind = match kind(schema, field) {
            _ if field == ID => None,
            Some(kind) => Some(kind),
            None => {
                return Err(Error::invalid(format!(
                    "no such field in the schema for a column of the Parquet file: name those to read with --columns, column={}, field={field}",
                    of.name()
                )));
            }
        };
        let mut is_nanoseconds = false;
        for leaf in
            descriptor.columns().iter().filter(|leaf| leaf.path().parts().first().is_some_and(|p| p == of.name()))
        {
            check(leaf)?;
            is_nanoseconds |=
                matches!(leaf.logical_type_ref(), Some(LogicalType::Timestamp(of)) if of.unit == TimeUnit::NANOS);
        }
        columns.push(Column { field: field.to_owned(), kind, is_nanoseconds });
        wanted.push(of.clone());
    }
    if columns.iter().filter(|column| column.kind.is_none()).count() != 1 {
        return Err(Error::invalid("exactly one column must be the id: name it with --columns COLUMN=id"));
    }
    let wanted = Type::group_type_builder(root.name()).with_fields(wanted).build().map_err(broken)?;
    Ok((columns, wanted))
}

/// Whether the library turns values of this type into something that we can read.
fn check(leaf: &ColumnDescriptor) -> Result<()> {
    use ConvertedType as Of;
    let converted = leaf.converted_type();
    let is_read = match leaf.physical_type() {
        Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE | Physical::INT96 => true,
        Physical::INT32 => matches!(
            converted,
            Of::NONE | Of::INT_8 | Of::INT_16 | Of::INT_32 | Of::UINT_8 | Of::UINT_16 | Of::UINT_32 | Of::DATE
        ),
        Physical::INT64 => {
            matches!(converted, Of::NONE | Of::INT_64 | Of::UINT_64 | Of::TIMESTAMP_MILLIS | Of::TIMESTAMP_MICROS)
        }
        Physical::BYTE_ARRAY => matches!(converted, Of::NONE | Of::UTF8 | Of::ENUM | Of::JSON),
        Physical::FIXED_LEN_BYTE_ARRAY => leaf.logical_type_ref() == Some(&LogicalType::Float16),
    };
    if is_read {
        return Ok(());
    }
    let (column, physical) = (leaf.path().string(), leaf.physical_type());
    Err(Error::unsupported(format!("type of a column that is not read, column={column}, type={physical} {converted}")))
}

fn document(schema: &Schema, columns: &[Column], values: Vec<(String, Field)>) -> Row {
    let mut id = None;
    let mut fields = Vec::with_capacity(columns.len());
    for (column, (_, value)) in columns.iter().zip(values) {
        match &column.kind {
            None => id = id_of(value),
            Some(_) if matches!(value, Field::Null) => {}
            Some(kind) => fields.push((column, kind, value)),
        }
    }
    let Some(id) = id else {
        return Row::Wrong(None, Error::invalid("the id is neither text, bytes nor a whole number"));
    };
    let mut document = Document::new(&id);
    for (column, kind, value) in fields {
        let name = &column.field;
        let value = match kind {
            Kind::Vector => numbers(value).map(Value::Vector),
            Kind::Sparse => sparse(value).map(Value::Sparse),
            Kind::Text => text(value).map(Value::Text),
            Kind::Attribute(of) => {
                let value = attribute(*of, value, column.is_nanoseconds);
                value.and_then(|value| schema.fit(name, value).ok()).map(Value::Attribute)
            }
        };
        let Some(value) = value else {
            let id = Text::from(&id);
            let wrong = format!("document {}: the column is of another type than the field, field={name}", id.show());
            return Row::Wrong(Some(id), Error::invalid(wrong));
        };
        document = value.onto(document, name);
    }
    Row::Document(document)
}

fn id_of(value: Field) -> Option<Bytes> {
    match value {
        Field::Str(text) => Some(text.into()),
        Field::Bytes(bytes) => Some(Bytes::copy_from_slice(bytes.data())),
        other => whole(&other).map(|number| number.to_string().into()),
    }
}

fn text(value: Field) -> Option<String> {
    match value {
        Field::Str(text) => Some(text),
        Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).ok(),
        _ => None,
    }
}

/// A whole number that fits.
fn whole(value: &Field) -> Option<i64> {
    match *value {
        Field::Byte(v) => Some(v.into()),
        Field::Short(v) => Some(v.into()),
        Field::Int(v) => Some(v.into()),
        Field::Long(v) => Some(v),
        Field::UByte(v) => Some(v.into()),
        Field::UShort(v) => Some(v.into()),
        Field::UInt(v) => Some(v.into()),
        Field::ULong(v) => i64::try_from(v).ok(),
        _ => None,
    }
}

fn number(value: &Field) -> Option<f64> {
    match *value {
        Field::Float(v) => Some(v.into()),
        Field::Double(v) => Some(v),
        Field::Float16(v) => Some(v.into()),
        _ => whole(value).map(|v| v as f64),
    }
}

fn list(value: &Field) -> Option<&[Field]> {
    match value {
        Field::ListInternal(list) => Some(List::elements(list)),
        _ => None,
    }
}

fn numbers(value: Field) -> Option<Vec<f32>> {
    list(&value)?.iter().map(|element| number(element).map(|v| v as f32)).collect()
}

fn sparse(value: Field) -> Option<SparseVector> {
    let Field::Group(row) = value else { return None };
    let (mut indices, mut values) = (None, None);
    for (name, value) in row.into_columns() {
        match name.as_str() {
            "indices" => {
                let all = list(&value)?.iter().map(|index| whole(index).and_then(|index| u32::try_from(index).ok()));
                indices = all.collect();
            }
            "values" => values = numbers(value),
            _ => return None,
        }
    }
    Some(SparseVector { indices: indices?, values: values? })
}

/// A value as the attribute's type wants it, as far as the kinds of numbers go; the schema has the last word.
fn attribute(of: AttributeType, value: Field, is_nanoseconds: bool) -> Option<Attribute> {
    let moment = |value: &Field| match *value {
        Field::TimestampMillis(at) => Some(at),
        Field::TimestampMicros(at) => Some(at.div_euclid(1000)),
        Field::Date(days) => Some(i64::from(days) * 86_400_000),
        _ if is_nanoseconds => whole(value).map(|at| at.div_euclid(1_000_000)),
        _ => whole(value),
    };
    let truth = |value: &Field| match value {
        Field::Bool(v) => Some(*v),
        _ => None,
    };
    Some(match of {
        AttributeType::Bool => Attribute::Bool(truth(&value)?),
        AttributeType::I64 => Attribute::I64(whole(&value)?),
        AttributeType::F64 => Attribute::F64(number(&value)?),
        AttributeType::Timestamp if !matches!(value, Field::Str(_)) => Attribute::Timestamp(Timestamp(moment(&value)?)),
        AttributeType::String | AttributeType::Timestamp => Attribute::String(text(value)?),
        AttributeType::Bools => Attribute::Bools(list(&value)?.iter().map(truth).collect::<Option<_>>()?),
        AttributeType::I64s => Attribute::I64s(list(&value)?.iter().map(whole).collect::<Option<_>>()?),
        AttributeType::F64s => Attribute::F64s(list(&value)?.iter().map(number).collect::<Option<_>>()?),
        AttributeType::Strings => Attribute::Strings(list(&value)?.iter().cloned().map(text).collect::<Option<_>>()?),
        AttributeType::Timestamps => {
            let moments = list(&value)?.iter().map(|value| moment(value).map(Timestamp));
            Attribute::Timestamps(moments.collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests;
