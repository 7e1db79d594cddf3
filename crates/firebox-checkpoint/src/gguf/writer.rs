//! Writes a GGUF file: head first, then each tensor in the order of the list.

use std::{collections::BTreeMap, io::Write, path::Path};

use super::{GgmlType, GgufArray, GgufValue};
use crate::{
    atomic::{AtomicFile, write_error},
    error::{CheckpointError, WriteError},
};

/// Where tensors begin: a multiple of this, from the end of the list.
const ALIGNMENT: usize = 32;

/// A tensor on its way into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedGguf {
    /// The name in the file.
    pub(super) name: String,
    /// Row-major.
    pub(super) shape: Vec<usize>,
    pub(super) kind: GgmlType,
}

impl PlannedGguf {
    pub(super) fn n_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() / self.kind.block_len() * self.kind.block_bytes()
    }
}

/// A file in the making, seen at its path when it is finished.
#[derive(Debug)]
pub(super) struct GgufWriter {
    file: AtomicFile,
    plan: std::vec::IntoIter<PlannedGguf>,
}

impl GgufWriter {
    /// Writes the head: version 3, the metadata by key, and the list of tensors.
    pub(super) fn create(
        path: &Path,
        metadata: &BTreeMap<String, GgufValue>,
        plan: Vec<PlannedGguf>,
    ) -> Result<Self, CheckpointError> {
        let mut head = b"GGUF".to_vec();
        head.extend(3_u32.to_le_bytes());
        head.extend((plan.len() as u64).to_le_bytes());
        head.extend((metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            put_string(&mut head, key);
            value.write(&mut head);
        }
        let mut offset = 0;
        for tensor in &plan {
            put_string(&mut head, &tensor.name);
            head.extend((tensor.shape.len() as u32).to_le_bytes());
            // The fastest axis first.
            let axes = tensor.shape.iter().rev();
            head.extend(axes.flat_map(|size| (*size as u64).to_le_bytes()));
            head.extend(tensor.kind.id().to_le_bytes());
            head.extend((offset as u64).to_le_bytes());
            offset += tensor.n_bytes().next_multiple_of(ALIGNMENT);
        }
        head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
        let mut file = AtomicFile::create(path)?;
        file.write_all(&head)
            .map_err(|source| write_error(path, source))?;
        let plan = plan.into_iter();
        Ok(Self { file, plan })
    }

    /// Writes the next tensor of the list.
    pub(super) fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
        let Some(planned) = self.plan.next() else {
            let name = "one more than planned".to_owned();
            return Err(WriteError::NotDeclared { name }.into());
        };
        let (expected, found) = (planned.n_bytes(), bytes.len());
        if found != expected {
            let (name, unit) = (planned.name, "bytes");
            return Err(WriteError::Length {
                name,
                unit,
                expected,
                found,
            }
            .into());
        }
        let padding = [0; ALIGNMENT];
        let padding = &padding[..expected.next_multiple_of(ALIGNMENT) - expected];
        self.file
            .write_all(bytes)
            .and_then(|()| self.file.write_all(padding))
            .map_err(|source| write_error(path, source))
    }

    /// Gives the file its name.
    pub(super) fn finish(self, path: &Path) -> Result<(), CheckpointError> {
        match self.plan.as_slice() {
            [] => self.file.commit(),
            missing => Err(WriteError::NotWritten {
                path: path.to_owned(),
                n_missing: missing.len(),
                first: missing[0].name.clone(),
            }
            .into()),
        }
    }
}

fn put_string(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u64).to_le_bytes());
    to.extend(text.as_bytes());
}

impl GgufValue {
    /// Type and value.
    fn write(&self, to: &mut Vec<u8>) {
        let kind: u32 = match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        };
        to.extend(kind.to_le_bytes());
        match self {
            Self::U8(x) => to.extend(x.to_le_bytes()),
            Self::I8(x) => to.extend(x.to_le_bytes()),
            Self::U16(x) => to.extend(x.to_le_bytes()),
            Self::I16(x) => to.extend(x.to_le_bytes()),
            Self::U32(x) => to.extend(x.to_le_bytes()),
            Self::I32(x) => to.extend(x.to_le_bytes()),
            Self::F32(x) => to.extend(x.to_le_bytes()),
            Self::Bool(x) => to.push(u8::from(*x)),
            Self::String(text) => put_string(to, text),
            Self::Array(array) => array.write(to),
            Self::U64(x) => to.extend(x.to_le_bytes()),
            Self::I64(x) => to.extend(x.to_le_bytes()),
            Self::F64(x) => to.extend(x.to_le_bytes()),
        }
    }
}

impl GgufArray {
    /// Type of the elements, their number, the elements.
    fn write(&self, to: &mut Vec<u8>) {
        /// Of numbers.
        fn put<T: Copy, const N: usize>(
            to: &mut Vec<u8>,
            kind: u32,
            values: &[T],
            bytes: impl Fn(T) -> [u8; N],
        ) {
            head(to, kind, values.len());
            to.extend(values.iter().flat_map(|x| bytes(*x)));
        }
        fn head(to: &mut Vec<u8>, kind: u32, len: usize) {
            to.extend(kind.to_le_bytes());
            to.extend((len as u64).to_le_bytes());
        }
        match self {
            Self::U8(xs) => put(to, 0, xs, u8::to_le_bytes),
            Self::I8(xs) => put(to, 1, xs, i8::to_le_bytes),
            Self::U16(xs) => put(to, 2, xs, u16::to_le_bytes),
            Self::I16(xs) => put(to, 3, xs, i16::to_le_bytes),
            Self::U32(xs) => put(to, 4, xs, u32::to_le_bytes),
            Self::I32(xs) => put(to, 5, xs, i32::to_le_bytes),
            Self::F32(xs) => put(to, 6, xs, f32::to_le_bytes),
            Self::Bool(xs) => put(to, 7, xs, |x| [u8::from(x)]),
            Self::String(xs) => {
                head(to, 8, xs.len());
                xs.iter().for_each(|text| put_string(to, text));
            }
            Self::Array(xs) => {
                head(to, 9, xs.len());
                xs.iter().for_each(|array| array.write(to));
            }
            Self::U64(xs) => put(to, 10, xs, u64::to_le_bytes),
            Self::I64(xs) => put(to, 11, xs, i64::to_le_bytes),
            Self::F64(xs) => put(to, 12, xs, f64::to_le_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Gguf;

    #[test]
    fn every_kind_of_value_is_read_back() {
        use GgufArray as A;
        use GgufValue as V;
        let values = [
            V::U8(1),
            V::I8(-1),
            V::U16(2),
            V::I16(-2),
            V::U32(3),
            V::I32(-3),
            V::F32(0.5),
            V::Bool(true),
            V::String("ä".to_owned()),
            V::U64(4),
            V::I64(-4),
            V::F64(0.25),
            V::Array(A::U8(vec![1, 2])),
            V::Array(A::I8(vec![-1])),
            V::Array(A::U16(vec![3])),
            V::Array(A::I16(vec![-3])),
            V::Array(A::U32(vec![5])),
            V::Array(A::I32(vec![-5])),
            V::Array(A::F32(vec![1.5])),
            V::Array(A::Bool(vec![true, false])),
            V::Array(A::String(vec![String::new(), "b".to_owned()])),
            V::Array(A::Array(vec![A::U64(vec![7]), A::I64(vec![])])),
            V::Array(A::F64(vec![2.5])),
        ];
        let keyed = values.into_iter().enumerate();
        let metadata: BTreeMap<String, GgufValue> = keyed
            .map(|(i, value)| (format!("key.{i}"), value))
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gguf");
        let tensor = |name: &str, shape: &[usize], kind| PlannedGguf {
            name: name.to_owned(),
            shape: shape.to_vec(),
            kind,
        };
        let plan = vec![
            tensor("a", &[3], GgmlType::F32),
            tensor("b", &[2, 32], GgmlType::Q8_0),
        ];
        let mut writer = GgufWriter::create(&path, &metadata, plan).unwrap();
        writer.write(&path, &[1; 12]).unwrap();
        assert!(writer.write(&path, &[2; 67]).is_err());
        let plan = vec![
            tensor("a", &[3], GgmlType::F32),
            tensor("b", &[2, 32], GgmlType::Q8_0),
        ];
        let mut writer = GgufWriter::create(&path, &metadata, plan).unwrap();
        writer.write(&path, &[1; 12]).unwrap();
        assert!(!path.exists());
        writer.write(&path, &[2; 68]).unwrap();
        writer.finish(&path).unwrap();
        let file = std::fs::read(&path).unwrap();
        let read = Gguf::parse(&file).unwrap();
        assert_eq!(read.metadata, metadata);
        assert_eq!(read.tensors[1].shape, [2, 32]);
        assert_eq!(file[read.tensors[0].range.clone()], [1; 12]);
        assert_eq!(file[read.tensors[1].range.clone()], [2; 68]);
    }

    #[test]
    fn a_file_with_tensors_missing_is_not_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gguf");
        let plan = vec![PlannedGguf {
            name: "a".to_owned(),
            shape: vec![3],
            kind: GgmlType::F32,
        }];
        let writer = GgufWriter::create(&path, &BTreeMap::new(), plan).unwrap();
        let error = writer.finish(&path).unwrap_err().to_string();
        assert!(error.contains("`a`") && !path.exists(), "{error}");
    }
}
