//! A table as a Parquet file: one row group, every column optional, without compression.

use std::sync::Arc;

use assay_planning::export::table::{Column, Table, Values};
use parquet::{
    basic::{LogicalType, Repetition, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    errors::ParquetError as Broken,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::Type,
};
use thiserror::Error;

/// A table cannot be written, which memory does not refuse.
#[derive(Debug, Error)]
#[error("the table cannot be written as Parquet")]
pub(super) struct ParquetError(#[from] Broken);

/// The file as bytes.
pub(super) fn written(name: &str, table: &Table) -> Result<Vec<u8>, ParquetError> {
    let fields = table.columns.iter().map(|column| field(column).map(Arc::new));
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Type::group_type_builder(name).with_fields(fields).build()?);
    let created_by = format!("assay {}", env!("CARGO_PKG_VERSION"));
    let properties = WriterProperties::builder().set_created_by(created_by).build();
    let mut content = Vec::new();
    let mut file = SerializedFileWriter::new(&mut content, schema, Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for column in &table.columns {
        let Some(mut writer) = group.next_column()? else { break };
        write(&mut writer, &column.values)?;
        writer.close()?;
    }
    group.close()?;
    file.close()?;
    Ok(content)
}

fn field(column: &Column) -> Result<Type, Broken> {
    let (physical, logical) = match column.values {
        Values::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Values::Real(_) => (Physical::DOUBLE, None),
        Values::Whole(_) => (Physical::INT64, None),
        Values::Flag(_) => (Physical::BOOLEAN, None),
    };
    Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()
}

fn write(writer: &mut SerializedColumnWriter<'_>, values: &Values) -> Result<(), Broken> {
    match values {
        Values::Text(values) => {
            batch::<ByteArrayType, _>(writer, values, |text| ByteArray::from(text.as_str()))
        }
        Values::Real(values) => batch::<DoubleType, _>(writer, values, |real| *real),
        Values::Whole(values) => {
            batch::<Int64Type, _>(writer, values, |whole| i64::try_from(*whole).unwrap_or(i64::MAX))
        }
        Values::Flag(values) => batch::<BoolType, _>(writer, values, |flag| *flag),
    }
}

/// What is there, and for each row whether something is.
fn batch<D: DataType, V>(
    writer: &mut SerializedColumnWriter<'_>,
    values: &[Option<V>],
    as_written: impl Fn(&V) -> D::T,
) -> Result<(), Broken> {
    let there: Vec<D::T> = values.iter().flatten().map(as_written).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    writer.typed::<D>().write_batch(&there, Some(&levels), None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use parquet::{
        file::reader::{FileReader, SerializedFileReader},
        record::RowAccessor,
    };

    use super::*;

    #[test]
    fn what_is_written_is_read_back_with_what_is_missing() {
        let column = |name, values| Column { name, values };
        let table = Table {
            columns: vec![
                column("text", Values::Text(vec![Some("ü".to_owned()), None])),
                column("real", Values::Real(vec![None, Some(1.5)])),
                column("whole", Values::Whole(vec![Some(7), Some(u64::MAX)])),
                column("flag", Values::Flag(vec![Some(true), None])),
                column("nothing", Values::Real(vec![None, None])),
            ],
            rows: 2,
        };
        let file = bytes::Bytes::from(written("trials", &table).unwrap());
        let reader = SerializedFileReader::new(file).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].get_string(0).unwrap(), "ü");
        assert!(rows[0].get_double(1).is_err(), "it is null");
        assert_eq!((rows[0].get_long(2).unwrap(), rows[0].get_bool(3).unwrap()), (7, true));
        assert_eq!((rows[1].get_double(1).unwrap(), rows[1].get_long(2).unwrap()), (1.5, i64::MAX));
        assert!(rows[1].get_string(0).is_err() && rows[1].get_double(4).is_err());
    }

    #[test]
    fn a_table_without_rows_is_a_file_all_the_same() {
        let values = Values::Text(Vec::new());
        let table = Table { columns: vec![Column { name: "job", values }], rows: 0 };
        let file = bytes::Bytes::from(written("steps", &table).unwrap());
        let reader = SerializedFileReader::new(file).unwrap();
        assert_eq!(reader.get_row_iter(None).unwrap().count(), 0);
    }
}
