//! Lets the symbols of Node stay open until it loads the library.
fn main() {
    napi_build::setup();
}
