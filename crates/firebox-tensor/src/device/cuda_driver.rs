//! Asks the NVIDIA driver which GPUs there are, before burn does: a missing driver would make
//! burn's CUDA thread panic.
#![expect(
    unsafe_code,
    reason = "the driver is a C library, loaded only if it is there"
)]

use std::ffi::{CStr, c_char, c_int};

use libloading::{Library, Symbol};

use crate::device::DeviceError;

/// Names under which systems keep the driver's library.
const LIBRARY_NAMES: &[&str] = if cfg!(windows) {
    &["nvcuda.dll"]
} else {
    &["libcuda.so.1", "libcuda.so"]
};

/// `CUresult` of a call that worked.
const CUDA_SUCCESS: c_int = 0;
/// `CUresult` for a function that is not there.
const CUDA_ERROR_NOT_FOUND: c_int = 500;

/// A GPU as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gpu {
    pub(super) name: String,
    pub(super) memory_bytes: u64,
}

/// The loaded and initialized driver.
struct Driver(Library);

/// Number of NVIDIA GPUs that the driver offers.
pub(super) fn n_devices() -> Result<usize, DeviceError> {
    Driver::load()?.n_devices()
}

/// Every NVIDIA GPU, in the order of their numbers.
pub(super) fn gpus() -> Result<Vec<Gpu>, DeviceError> {
    let driver = Driver::load()?;
    (0..driver.n_devices()?)
        .map(|index| driver.gpu(index))
        .collect()
}

impl Driver {
    fn load() -> Result<Self, DeviceError> {
        let open = |name: &&str| {
            // SAFETY: these are the names of the NVIDIA driver's library, whose initializers have
            // no preconditions; the system's loader vouches for what lies under them.
            unsafe { Library::new(*name) }.ok()
        };
        let library =
            LIBRARY_NAMES
                .iter()
                .find_map(open)
                .ok_or_else(|| DeviceError::NoCudaDriver {
                    tried: format!("`{}`", LIBRARY_NAMES.join("` or `")),
                })?;
        let driver = Self(library);
        // SAFETY: `CUresult cuInit(unsigned int flags)`; flags must be 0.
        let code = unsafe {
            let init: Symbol<'_, unsafe extern "C" fn(u32) -> c_int> = driver.get("cuInit")?;
            init(0)
        };
        check("cuInit", code)?;
        Ok(driver)
    }

    fn n_devices(&self) -> Result<usize, DeviceError> {
        const CALL: &str = "cuDeviceGetCount";
        let mut count: c_int = 0;
        // SAFETY: `CUresult cuDeviceGetCount(int *count)`, after `cuInit`; `count` outlives it.
        let code = unsafe {
            let get: Symbol<'_, unsafe extern "C" fn(*mut c_int) -> c_int> = self.get(CALL)?;
            get(&raw mut count)
        };
        check(CALL, code)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn gpu(&self, index: usize) -> Result<Gpu, DeviceError> {
        let device = self.handle(index)?;
        Ok(Gpu {
            name: self.name(device)?,
            memory_bytes: self.memory_bytes(device)?,
        })
    }

    fn handle(&self, index: usize) -> Result<c_int, DeviceError> {
        const CALL: &str = "cuDeviceGet";
        let ordinal = c_int::try_from(index).unwrap_or(c_int::MAX);
        let mut device: c_int = 0;
        // SAFETY: `CUresult cuDeviceGet(CUdevice *device, int ordinal)`, `CUdevice` being an int;
        // `device` outlives the call.
        let code = unsafe {
            let get: Symbol<'_, unsafe extern "C" fn(*mut c_int, c_int) -> c_int> =
                self.get(CALL)?;
            get(&raw mut device, ordinal)
        };
        check(CALL, code)?;
        Ok(device)
    }

    fn name(&self, device: c_int) -> Result<String, DeviceError> {
        const CALL: &str = "cuDeviceGetName";
        const CAPACITY: c_int = 256;
        let mut name = [0_u8; CAPACITY as usize];
        // SAFETY: `CUresult cuDeviceGetName(char *name, int len, CUdevice dev)` writes at most
        // `len` bytes, and `name` has `CAPACITY`.
        let code = unsafe {
            let get: Symbol<'_, unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> =
                self.get(CALL)?;
            get(name.as_mut_ptr().cast(), CAPACITY, device)
        };
        check(CALL, code)?;
        let name = CStr::from_bytes_until_nul(&name).unwrap_or(c"NVIDIA GPU");
        Ok(name.to_string_lossy().into_owned())
    }

    fn memory_bytes(&self, device: c_int) -> Result<u64, DeviceError> {
        const CALL: &str = "cuDeviceTotalMem_v2";
        let mut bytes: usize = 0;
        // SAFETY: `CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)`; `bytes` outlives
        // the call.
        let code = unsafe {
            let get: Symbol<'_, unsafe extern "C" fn(*mut usize, c_int) -> c_int> =
                self.get(CALL)?;
            get(&raw mut bytes, device)
        };
        check(CALL, code)?;
        Ok(bytes as u64)
    }

    /// The function `call`, or the error that a library without it deserves.
    ///
    /// # Safety
    /// `F` must be the type of that function in the driver's API.
    unsafe fn get<F>(&self, call: &'static str) -> Result<Symbol<'_, F>, DeviceError> {
        // SAFETY: the caller vouches for the type.
        unsafe { self.0.get(call) }.map_err(|_| DeviceError::CudaDriver {
            call,
            code: CUDA_ERROR_NOT_FOUND,
        })
    }
}

fn check(call: &'static str, code: c_int) -> Result<(), DeviceError> {
    match code {
        CUDA_SUCCESS => Ok(()),
        code => Err(DeviceError::CudaDriver { call, code }),
    }
}
