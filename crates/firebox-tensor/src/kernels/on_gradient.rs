//! A look at a gradient as soon as the backward pass has it.

use std::sync::Arc;

use burn::tensor::Tensor;

/// Called with the whole gradient of a tensor.
pub type GradientHook<const D: usize> = Arc<dyn Fn(Tensor<D>) + Send + Sync>;

/// `x` itself, as an operation of its own: `hook` is called during the backward pass, once all uses of
/// the result have added their gradients, and before the pass goes on. `None` where `x` is no tracked
/// f32 tensor of the CPU.
///
/// Source: Li et al. (2020), section 3.2.3, where such hooks start sums over processes while gradients
/// of lower layers are still computed, <https://arxiv.org/abs/2006.15704>.
pub fn on_gradient<const D: usize>(x: &Tensor<D>, hook: GradientHook<D>) -> Option<Tensor<D>> {
    #[cfg(feature = "cpu")]
    return fused::on_gradient(x, hook);
    #[cfg(not(feature = "cpu"))]
    {
        let _ = (x, hook);
        None
    }
}

#[cfg(feature = "cpu")]
mod fused {
    use std::fmt;

    use burn::backend::{Flex, flex::FlexTensor};
    use burn::tensor::Tensor;

    use super::super::fused_op::{FusedOp, Input, apply};
    use super::GradientHook;

    #[derive(Clone)]
    struct OnGradient<const D: usize>(GradientHook<D>);

    impl<const D: usize> fmt::Debug for OnGradient<D> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("OnGradient")
        }
    }

    pub(super) fn on_gradient<const D: usize>(
        x: &Tensor<D>,
        hook: GradientHook<D>,
    ) -> Option<Tensor<D>> {
        if !x.is_autodiff() || !x.is_tracked() {
            return None;
        }
        apply(OnGradient(hook), [Input::new(x, true)])
    }

    impl<const D: usize> FusedOp<Flex, 1> for OnGradient<D> {
        type Saved = ();

        fn forward(&self, [x]: [&FlexTensor; 1], _: [bool; 1]) -> (FlexTensor, ()) {
            (x.clone(), ())
        }

        fn backward(&self, (): (), grad: &FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
            (self.0)(Tensor::from_primitive::<Flex>(grad.clone()));
            [Some(grad.clone())]
        }
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use std::sync::Mutex;

    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_hook_sees_the_sum_over_all_uses_once() {
        let device = Device::default().autodiff();
        let x = Tensor::<1>::from_floats([1.0, 2.0], &device).require_grad();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let hook: GradientHook<1> = Arc::new(move |gradient| {
            let values = gradient.into_data().try_into_vec::<f32>().unwrap();
            sink.lock().unwrap().push(values);
        });
        let y = on_gradient(&x, hook).unwrap();
        let loss = (y.clone() * y.clone()).sum() + y.mul_scalar(3.0).sum();
        let mut gradients = loss.backward();
        assert_eq!(*seen.lock().unwrap(), [vec![5.0, 7.0]]);
        let at_leaf = x.grad_remove(&mut gradients).unwrap().into_data();
        assert_eq!(at_leaf.try_into_vec::<f32>().unwrap(), [5.0, 7.0]);
    }

    #[test]
    fn an_untracked_tensor_has_no_gradient_to_see() {
        let x = Tensor::<1>::from_floats([1.0], &Device::default());
        assert!(on_gradient(&x, Arc::new(|_| ())).is_none());
    }
}
