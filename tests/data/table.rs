//! Tables and their scaling: valid files, and above all invalid ones.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use burn_vae::data::{
    BatchLoader, ByteImages, Column, Examples, Scaling, Subset, Table, TableFile, TableOptions,
};
use burn_vae::{ErrorKind, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

fn file(content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.csv");
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn values(examples: &dyn Examples) -> Vec<f32> {
    let mut out = vec![0.0; examples.len() * examples.dim()];
    examples.read(&(0..examples.len()).collect::<Vec<_>>(), &mut out).unwrap();
    out
}

/// Reads a table in both ways, which must agree in values and errors.
fn read(content: impl AsRef<[u8]>, options: &TableOptions) -> Result<Table> {
    let (_dir, path) = file(content);
    match (Table::read(&path, options), TableFile::open(&path, options)) {
        (Ok(table), Ok(file)) => {
            assert_eq!((values(&table), table.len()), (values(&file), file.len()));
            assert_eq!((table.names(), table.labels()), (file.names(), file.labels()));
            Ok(table)
        }
        (Err(a), Err(b)) => {
            assert_eq!((a.to_string(), a.kind()), (b.to_string(), b.kind()));
            Err(a)
        }
        (table, file) => panic!("{table:?}, but {file:?}"),
    }
}

#[test]
fn tables_with_and_without_a_header_are_read() {
    let plain = TableOptions::new();
    for content in
        ["1,2\n3,-4e-1\n", "1,2\r\n3,-4e-1", "1 , 2\n\"3\",-0.4\n\n \n", "\u{feff}1,2\n3,-.4"]
    {
        let table = read(content, &plain).unwrap();
        assert_eq!(table.values(), [1.0, 2.0, 3.0, -0.4], "{content:?}");
        assert_eq!(table.names(), ["column 1", "column 2"]);
        assert!(table.labels().is_none());
    }
    // The first column of pandas has no name.
    let table = read(",Na\n0,1.5\n1,2.5\n", &plain).unwrap();
    assert_eq!(table.names(), ["", "Na"]);
    for content in ["a,\"b, c\"\n1,2\n", "\u{feff}a,\"b, c\"\r\n1,2"] {
        let table = read(content, &plain).unwrap();
        assert_eq!(
            (table.names(), table.values()),
            (&["a".into(), "b, c".into()][..], &[1.0, 2.0][..])
        );
    }
    assert_eq!(read("7\n", &plain).unwrap().values(), [7.0]);
    let semicolons = TableOptions::new().with_delimiter(';');
    assert_eq!(read("a;b\n1;2\n", &semicolons).unwrap().values(), [1.0, 2.0]);
    // Ambiguous first lines need the option.
    assert_eq!(read("0,1,2\n5,6,7\n", &plain.clone().with_header(false)).unwrap().len(), 2);
    let table = read("0,1,2\n5,6,7\n", &plain.with_header(true)).unwrap();
    assert_eq!((table.names()[1].as_str(), table.values()), ("1", &[5.0, 6.0, 7.0][..]));
}

#[test]
fn columns_are_chosen_by_place_or_by_name() {
    let content = "id,x,class,y\nfirst,1,0.0,2\nsecond,3,2.55e2,4\n";
    let options = TableOptions::new().with_label("class").with_features(["y", "x"]);
    let table = read(content, &options).unwrap();
    assert_eq!((table.names(), table.dim()), (&["y".into(), "x".into()][..], 2));
    assert_eq!(table.values(), [2.0, 1.0, 4.0, 3.0]);
    assert_eq!(table.labels(), Some([0, 255].as_slice()));
    let options = TableOptions::new().with_label(2).with_features([3, 1]);
    assert_eq!(read(content, &options).unwrap().values(), table.values());
    let options = options.with_max_rows(1);
    assert_eq!(read(content, &options).unwrap().labels(), Some([0].as_slice()));
    // Of two columns with the same name, each can be selected by its position.
    let twice = TableOptions::new().with_features([2]);
    assert_eq!(read("x,y,x\n1,2,3\n", &twice).unwrap().values(), [3.0]);
    // Rows beyond `max_rows` are not checked.
    assert_eq!(read(format!("{content}bad"), &options).unwrap().len(), 1);
    let json = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<TableOptions>(&json).unwrap(), options);
    assert_eq!(Column::from("x"), Column::Name("x".into()));
}

#[test]
fn compressed_tables_are_read_into_memory_only() {
    let (_dir, path) = file(gzip(b"a,b\n1,2\n"));
    assert_eq!(Table::read(&path, &TableOptions::new()).unwrap().values(), [1.0, 2.0]);
    let error = TableFile::open(&path, &TableOptions::new()).unwrap_err();
    let reason = "some.csv: compressed with gzip, so its rows cannot be read one by one; \
                  decompress it, or read it into memory with Table::read";
    assert!(error.to_string().ends_with(reason), "{error}");
    let compressed = gzip(b"a,b\n1,2\n");
    let (_dir, path) = file(&compressed[..compressed.len() - 9]);
    let error = Table::read(&path, &TableOptions::new()).unwrap_err();
    assert!(error.to_string().contains("the gzip stream ends too early"), "{error}");
}

#[test]
fn bad_tables_are_refused_with_the_line_and_the_column() {
    let plain = TableOptions::new;
    let labelled = || plain().with_label("y");
    let long = "1,".repeat(1 << 23) + "1";
    let old_mac = "1,2\r".repeat(1 << 23);
    const CR: &str =
        "line 1 has a carriage return without a line feed; lines must end in LF or CRLF";
    let cases: Vec<(&[u8], TableOptions, &str)> = vec![
        (b"", plain(), "the file is empty"),
        (b"\n \n", plain(), "the file is empty"),
        (b"a,b\n", plain(), "there is a header, but no row follows"),
        (b"a,b\n1,\n", plain(), "line 2, column 2 (`b`): an empty field is not a number"),
        (b"1,2\n3,x\n", plain(), "line 2, column 2: `x` is not a number"),
        (b"a,b\n1,2\nnan,3\n", plain(), "line 3, column 1 (`a`): `nan` is not a finite number"),
        (b"a,b\n1,2\n1,-inf\n", plain(), "line 3, column 2 (`b`): `-inf` is not a finite number"),
        (b"a\n1e39\n", plain(), "line 2, column 1 (`a`): `1e39` is beyond the range of 32-bit"),
        (b"1,2\n3\n", plain(), "line 2 has 1 field, but the first has 2"),
        (b"1,2\n3,4\n5,6,7\n", plain(), "line 3 has 3 fields, but the first has 2"),
        (b"1,2\n3,\"4\n", plain(), "line 2 has an unclosed quote"),
        (b"1\n\n2\n", plain(), "line 2 is empty, but others follow"),
        (b"\n1\n", plain(), "line 1 is empty, but others follow"),
        (b"1,2\n3,\xff\n", plain(), "line 2 is not UTF-8 text"),
        (b"1,2\n3,\0\x1b\n", plain(), "line 2, column 2: `\\0\\u{1b}` is not a number"),
        (long.as_bytes(), plain(), "line 1 has more than 16777216 bytes; is this a table?"),
        (b"a,1\n1,2\n", plain(), "line 1 may be a header or a row (1 of its 2 fields are numbers)"),
        (b"0,1,2\n5,6,7\n", plain(), "line 1 may be a header or a row (3 of its 3 fields are"),
        (b"a,b\n1,2\n", plain().with_header(false), "line 1, column 1: `a` is not a number"),
        (b"a;b\n1;2\n", plain(), "line 2, column 1 (`a;b`): `1;2` is not a number"),
        (b"a,b\n1,2\n", labelled(), "there is no column `y`; the columns are `a`, `b`"),
        (b"1,2\n", labelled(), "column `y` is selected, but there is no header with names"),
        (b"y,y\n1,2\n", labelled(), "columns 1 and 2 are both called `y`; rename one in the file"),
        (
            b"x,y,x\n1,2,3\n",
            plain(),
            "columns 1 and 3 are both called `x`; rename one in the file, or",
        ),
        (b"x, y,x ,z\n1,2,3,4\n", plain().with_label("z"), "columns 1 and 3 are both called `x`"),
        (b",,x\n1,2,3\n", plain(), "columns 1 and 2 are both called ``"),
        (b"1,2\r3,4\r", plain(), CR),
        (b"a,b\r1,2\r3,4", plain(), CR),
        (b"1,2\n\"3\",4\r5,6\n", plain(), "line 2 has a carriage return without a line feed"),
        (b"\"1\",\"2\"\r\"3\",\"4\"\r", plain(), CR),
        (b"\"1\",\"2\"\r\r\n3,4\n", plain(), CR),
        (b"1,\"2\r\n\"\n3,4\n", plain(), "line 1 has an unclosed quote"),
        (b"1,\"2\r\"\n3,4\n", plain(), CR),
        (old_mac.as_bytes(), plain(), CR),
        (b"?,?\n1,2\n", plain(), "line 1, column 1: `?` is not a number"),
        (b"NA,1\n1,2\n", plain(), "line 1, column 1: `NA` is not a number"),
        (b"NaN,null\n1,2\n", plain(), "line 1, column 1: `NaN` is not a finite number"),
        (b",\n1,2\n", plain(), "line 1, column 1: an empty field is not a number"),
        (b"1,\n1,2\n", plain(), "line 1, column 2: an empty field is not a number"),
        (b"?,?,cat\n1,2,dog\n", plain(), "(2 of its 3 fields are numbers or missing values)"),
        (
            b"1\t2\n\t\n",
            plain().with_delimiter('\t'),
            "line 2, column 1: an empty field is not a number",
        ),
        (b"y\n1\n", labelled(), "no column is left as a feature"),
        (b"1,2\n", plain().with_label(2), "column 2, counted from 0, is selected, but there are"),
        (b"1,2\n", plain().with_features([0, 0]), "column 1 is selected more than once"),
        (b"a,y\n1,2\n", labelled().with_features(["y"]), "column 2 (`y`) is selected more than"),
        (b"a,y\n1,2.5\n", labelled(), "line 2, column 2 (`y`): `2.5` is not a label, an integer"),
        (b"a,y\n1,256\n", labelled(), "`256` is not a label, an integer from 0 to 255"),
        (b"a,y\n1,-1\n", labelled(), "`-1` is not a label, an integer from 0 to 255"),
        (b"a,y\n1,cat\n", labelled(), "line 2, column 2 (`y`): `cat` is not a label, an integer"),
    ];
    for (content, options, reason) in cases {
        let error = read(content, &options).expect_err(reason);
        let text = error.to_string();
        assert!(text.contains(reason), "{text}, not {reason}");
        assert!(text.contains("some.csv: "), "no file is named: {text}");
        assert!(text.len() < 300, "{text}");
        assert_eq!(error.kind(), ErrorKind::Data, "{text}");
    }
    for (options, reason) in [
        (plain().with_max_rows(0), "max_rows is 0, but it must be at least 1"),
        (plain().with_delimiter('\n'), "'\\n' cannot be the delimiter"),
        (plain().with_delimiter('→'), "'→' cannot be the delimiter"),
    ] {
        let error = read("1,2\n", &options).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind()), (reason, ErrorKind::Config));
    }
    let error = Table::read("/nowhere/at-all.csv", &plain()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

#[test]
fn a_table_on_disk_that_is_written_to_is_noticed() {
    let (_dir, path) = file("a,b\n1,2\n3,4\n");
    let table = Arc::new(TableFile::open(&path, &TableOptions::new()).unwrap());
    let loader = BatchLoader::shuffled(table.clone(), 1, 0, &Device::flex()).unwrap();
    assert!(loader.epoch().all(|batch| batch.is_ok()));
    for content in ["a,b\n1,2\n", "a,b\n1,2\n3,4\n5,6\n"] {
        fs::write(&path, content).unwrap();
        let error = table.read(&[0], &mut [0.0; 2]).unwrap_err().to_string();
        assert!(error.ends_with("some.csv: the file has changed since it was opened"), "{error}");
        assert!(loader.epoch().next().unwrap().is_err());
    }
}

/// A shell passes a pipe for `<(zcat table.csv.gz)`; its name is that of an open file.
#[cfg(target_os = "linux")]
#[test]
fn the_pipe_of_a_shell_is_read() {
    use std::os::fd::AsRawFd;
    for content in [b"a,b\n1,2\n".to_vec(), gzip(b"a,b\n1,2\n")] {
        for place in ["/dev/fd", "/proc/self/fd"] {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(&content).unwrap();
            drop(writer);
            let path = PathBuf::from(format!("{place}/{}", reader.as_raw_fd()));
            let error = TableFile::open(&path, &TableOptions::new()).unwrap_err().to_string();
            assert!(error.ends_with("this is a pipe, not a file"), "{error}");
            let table = Table::read(&path, &TableOptions::new()).unwrap();
            assert_eq!(table.values(), [1.0, 2.0]);
        }
    }
}

#[test]
fn tables_made_by_hand_are_checked() {
    let error = Table::new(vec![1.0; 5], ["a", "b"]).unwrap_err().to_string();
    assert_eq!(error, "5 values are not a whole number of rows of 2 columns");
    let error = Table::new(vec![1.0; 3], ["a", "b", "a"]).unwrap_err().to_string();
    assert_eq!(error, "columns 1 and 3 are both called `a`");
    let none: [&str; 0] = [];
    assert!(Table::new(vec![], none).is_err());
    let error = Table::new(vec![1.0, 2.0, 3.0, f32::NAN], ["a", "b"]).unwrap_err().to_string();
    assert_eq!(error, "row 1, column `b`: NaN is not a finite number");
    let table = Table::new(vec![1.0, 2.0, 3.0, 4.0], ["a", "b"]).unwrap();
    let error = table.clone().with_labels(vec![1]).unwrap_err().to_string();
    assert_eq!(error, "there are 1 labels for 2 rows");
    let device = Device::flex();
    let row = table.tensor(1..2, &device).unwrap().into_data();
    assert_eq!(row.iter::<f32>().collect::<Vec<_>>(), [3.0, 4.0]);
    assert!(table.tensor(1..3, &device).is_err());
}

#[test]
fn columns_are_scaled_as_documented() {
    let names = ["spread", "constant"];
    let train = Table::new(vec![-2.0, 5.0, 6.0, 5.0, 2.0, 5.0], names).unwrap();
    let scaling = Scaling::min_max(&train).unwrap();
    // A constant column becomes 0 and keeps its unit.
    assert_eq!(scaling.table(&train).unwrap().values(), [0.0, 0.0, 1.0, 0.0, 0.5, 0.0]);
    let other = Table::new(vec![10.0, 7.0, -6.0, 4.0], names).unwrap().with_labels([3, 4]).unwrap();
    let scaled = scaling.table(&other).unwrap();
    assert_eq!(scaled.values(), [1.5, 2.0, -0.5, -1.0]);
    assert_eq!((scaled.names(), scaled.labels()), (other.names(), other.labels()));
    let clipped = scaling.clone().clipped();
    assert_eq!(clipped.table(&other).unwrap().values(), [1.0, 1.0, 0.0, 0.0]);

    // The mean is 2, the variance (16 + 16 + 0) / 3.
    let scaling = Scaling::standard(&train).unwrap();
    let one = (4.0 / (32.0f64 / 3.0).sqrt()) as f32;
    assert_eq!(scaling.table(&train).unwrap().values(), [-one, 0.0, one, 0.0, 0.0, 0.0]);

    // Large values that are close together do not cancel.
    let close = Table::new(vec![16_777_215.0, 16_777_216.0], ["x"]).unwrap();
    let scaling = Scaling::standard(&close).unwrap();
    assert_eq!(scaling.table(&close).unwrap().values(), [-1.0, 1.0]);
}

#[test]
fn a_decoder_of_bits_may_start_at_the_logits_of_the_means() {
    let images = ByteImages::new(vec![0, 51, 0, 255, 51, 0], [1, 3, 1]).unwrap();
    let logits = Scaling::standard(&images).unwrap().shift_logits().unwrap();
    let expected = [0.5f64, 0.2, 0.001].map(|p| (p / (1.0 - p)).ln() as f32);
    for (found, expected) in logits.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{logits:?}");
    }
    let table = Table::new(vec![0.5, 2.0], ["a", "b"]).unwrap();
    let error = Scaling::standard(&table).unwrap().shift_logits().unwrap_err().to_string();
    let expected = "the shift of column 1 is 2, but only values in [0, 1] have a logit";
    assert_eq!(error, expected);
}

#[test]
fn a_scaling_fits_any_examples_and_is_kept_in_a_file() {
    let images = ByteImages::new(vec![0, 51, 255, 51], [1, 2, 1]).unwrap();
    let scaling = Scaling::min_max(&images).unwrap();
    assert_eq!(scaling.dim(), 2);
    let scaled = scaling.scaled(Arc::new(images)).unwrap();
    assert_eq!(values(&scaled), [0.0, 0.0, 1.0, 0.0]);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model/scaling.json");
    for scaling in [scaling.clone(), scaling.clipped()] {
        scaling.save(&path).unwrap();
        assert_eq!(Scaling::load(&path).unwrap(), scaling);
    }
    for (json, reason) in [
        ("{", "scaling.json: EOF"),
        (r#"{"shift":[0],"scale":[1,1],"clip":false}"#, "has 1 shifts and 2 scales"),
        (r#"{"shift":[],"scale":[],"clip":false}"#, "has 0 shifts and 0 scales"),
        (r#"{"shift":[0],"scale":[0],"clip":false}"#, "column 0, counted from 0, has shift 0 and"),
        (r#"{"shift":[0],"scale":[-1],"clip":true}"#, "must be finite and the scale above 0"),
        (r#"{"shift":[0],"clip":true}"#, "missing field `scale`"),
    ] {
        fs::write(&path, json).unwrap();
        let error = Scaling::load(&path).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
        assert!(error.to_string().contains("scaling.json: "), "{error}");
        assert_eq!(error.kind(), ErrorKind::Saved);
    }
    assert_eq!(Scaling::load(dir.path().join("none")).unwrap_err().kind(), ErrorKind::Io);
}

/// Two columns; the second example has a value that no file could contain.
struct NotFinite;

impl Examples for NotFinite {
    fn len(&self) -> usize {
        2
    }

    fn dim(&self) -> usize {
        2
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let rows = [[1.0, 2.0], [3.0, f32::INFINITY]];
        let rows = indices.iter().flat_map(|&i| rows[i]);
        out.iter_mut().zip(rows).for_each(|(value, x)| *value = x);
        Ok(())
    }
}

#[test]
fn a_scaling_that_does_not_fit_is_refused() {
    let table = Table::new(vec![1.0, 2.0], ["a", "b"]).unwrap();
    let scaling = Scaling::min_max(&table).unwrap();
    let other = Table::new(vec![1.0, 2.0], ["a"]).unwrap();
    let error = scaling.table(&other).unwrap_err();
    assert_eq!(error.to_string(), "examples have 1 columns, but the scaling has 2");
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert!(scaling.scaled(Arc::new(other)).is_err());
    let error = scaling.apply(&mut [0.0; 3]).unwrap_err().to_string();
    assert_eq!(error, "3 values are not a whole number of rows of 2");
    assert!(scaling.invert(&mut [0.0; 1]).is_err());
    for error in [Scaling::min_max(&NotFinite), Scaling::standard(&NotFinite)] {
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "example 1, column 1, both counted from 0: inf is not a finite number");
    }
    let none = ByteImages::new(vec![], [1, 1, 1]).unwrap();
    let error = Scaling::standard(&none).unwrap_err().to_string();
    assert_eq!(error, "a scaling cannot be fitted: there are no values");
}

fn numbers() -> impl Strategy<Value = f32> {
    prop_oneof![-1e3f32..1e3, any::<f32>().prop_filter("finite", |x| x.is_finite())]
}

proptest! {
    /// Values read equal the values written, bit for bit, in memory and from disk, in any order.
    #[test]
    fn numbers_survive_a_file(
        rows in prop::collection::vec((any::<u8>(), numbers(), numbers()), 1..20),
        header: bool, crlf: bool, last_end: bool,
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let head = header.then(|| "class,x,y".to_owned());
        let lines = rows.iter().map(|(class, x, y)| format!("{class},{x},{y:e}"));
        let mut text = head.into_iter().chain(lines).collect::<Vec<_>>().join(end);
        if last_end {
            text += end;
        }
        let (_dir, path) = file(&text);
        let options = TableOptions::new().with_header(header).with_label(0);
        let table = Table::read(&path, &options).unwrap();
        let labels = rows.iter().map(|row| row.0).collect::<Vec<_>>();
        prop_assert_eq!(table.labels(), Some(labels.as_slice()));
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let expected = rows.iter().flat_map(|row| [row.1, row.2]).collect::<Vec<_>>();
        prop_assert_eq!(bits(table.values()), bits(&expected));

        let disk = Arc::new(TableFile::open(&path, &options).unwrap());
        prop_assert_eq!(disk.labels(), table.labels());
        let order = (0..rows.len()).rev().collect::<Vec<_>>();
        let part = Subset::select(disk, order.clone()).unwrap();
        let same = table.select(&order).unwrap();
        prop_assert_eq!(bits(&values(&part)), bits(same.values()));
    }

    /// Scaling and inverting restores the values, up to 32-bit rounding at the scale of the column.
    #[test]
    fn scaling_can_be_undone(
        rows in prop::collection::vec((-1e3f32..1e3, -1.0f32..1.0), 1..50), standard: bool,
    ) {
        let values = rows.iter().flat_map(|row| [row.0, row.1]).collect::<Vec<_>>();
        let table = Table::new(values.clone(), ["x", "y"]).unwrap();
        let fit = if standard { Scaling::standard } else { Scaling::min_max };
        let scaling = fit(&table).unwrap();
        let mut there = scaling.table(&table).unwrap().values().to_vec();
        if !standard {
            prop_assert!(there.iter().all(|y| (0.0..=1.0).contains(y)));
        }
        scaling.invert(&mut there).unwrap();
        for (i, (back, x)) in there.iter().zip(&values).enumerate() {
            let bound = if i % 2 == 0 { 1e3 } else { 1.0 } * 8.0 * f32::EPSILON;
            prop_assert!((back - x).abs() <= bound, "{} became {}", x, back);
        }
    }
}
