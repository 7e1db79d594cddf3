//! Rows of a table, and their gradient.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

/// Rows `ids` of a table. On the CPU the gradient is added up row by row into zeros that cost no
/// memory until they are touched.
///
/// # Shapes
/// `table` `[vocab, d_model]`, `ids` `[n]`, result `[n, d_model]`.
///
/// # Panics
/// When an id is not below `vocab`.
pub fn embedding(table: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if let Some(rows) = fused::embedding(&table, &ids) {
        return rows;
    }
    table.select(0, ids)
}

/// `table[ids[i]] += rows[i]`, one after the other; on the CPU in the table's own memory, when
/// nobody else holds it.
///
/// # Shapes
/// `table` `[vocab, d_model]`, `rows` `[ids, d_model]`, both outside autodiff.
///
/// # Panics
/// When an id is not below `vocab`, or the shapes do not fit.
pub fn add_rows(table: Tensor<2>, ids: &[usize], rows: Tensor<2>) -> Tensor<2> {
    let [vocab, d_model] = table.dims();
    assert!(ids.iter().all(|id| *id < vocab), "ids inside the table");
    assert_eq!(rows.dims(), [ids.len(), d_model], "one row an id");
    #[cfg(feature = "cpu")]
    if super::flex_op::is_host_f32(&table) && super::flex_op::is_host_f32(&rows) {
        return fused::add_rows(table, ids, rows);
    }
    let numbers: Vec<i64> = ids.iter().map(|id| *id as i64).collect();
    let ids = TensorData::new(numbers, [ids.len()]);
    let ids = Tensor::<1, Int>::from_data(ids, &table.device());
    table.select_assign(0, ids, rows, IndexingUpdateOp::Add)
}

#[cfg(feature = "cpu")]
mod fused {
    use std::sync::Arc;

    use burn::backend::{Flex, flex::FlexTensor};
    use burn::tensor::{Int, Tensor, TensorData};

    use super::super::flex_op::{host_f32, values};
    use super::super::fused_op::{FusedOp, Input, apply};
    use crate::host;

    #[derive(Debug, Clone)]
    struct Embedding {
        ids: Arc<Vec<usize>>,
    }

    pub(super) fn embedding(table: &Tensor<2>, ids: &Tensor<1, Int>) -> Option<Tensor<2>> {
        // Ids elsewhere are not read back; on the CPU they lie at hand.
        let input = Some(Input::new(table, table.is_autodiff())?);
        let [vocab, _] = table.dims();
        let ids: Vec<usize> = ids
            .to_data()
            .iter::<i64>()
            .map(|id| usize::try_from(id).unwrap_or(usize::MAX))
            .collect();
        assert!(ids.iter().all(|id| *id < vocab), "ids inside the table");
        let ids = Arc::new(ids);
        apply(Embedding { ids }, [input])
    }

    pub(super) fn add_rows(table: Tensor<2>, ids: &[usize], rows: Tensor<2>) -> Tensor<2> {
        let (mut table, rows) = (host_f32(table), host_f32(rows));
        add(table.storage_mut(), ids, values(&rows));
        Tensor::from_primitive::<Flex>(table)
    }

    fn add(table: &mut [f32], ids: &[usize], rows: &[f32]) {
        let width = rows.len().checked_div(ids.len()).unwrap_or(0);
        for (id, row) in ids.iter().zip(rows.chunks_exact(width.max(1))) {
            for (sum, x) in table[id * width..][..width].iter_mut().zip(row) {
                *sum += x;
            }
        }
    }

    impl FusedOp<Flex, 1> for Embedding {
        /// `[vocab, d_model]`.
        type Saved = [usize; 2];

        fn forward(&self, [table]: [&FlexTensor; 1], _: [bool; 1]) -> (FlexTensor, [usize; 2]) {
            let shape = table.layout().shape();
            let [vocab, width] = [shape[0], shape[1]];
            let mut rows = Vec::with_capacity(self.ids.len() * width);
            for id in self.ids.iter() {
                rows.extend_from_slice(&values(table)[id * width..][..width]);
            }
            let rows = TensorData::new(rows, [self.ids.len(), width]);
            (FlexTensor::from_data(rows), [vocab, width])
        }

        fn backward(
            &self,
            [vocab, width]: [usize; 2],
            grad: &FlexTensor,
            _: [bool; 1],
        ) -> [Option<FlexTensor>; 1] {
            let mut d_table = host::zeros(vocab * width);
            add(&mut d_table, &self.ids, values(grad));
            let d_table = TensorData::new(d_table, [vocab, width]);
            [Some(FlexTensor::from_data(d_table))]
        }
    }
}
