//! How a session ended, as a client makes its own exit code from it (`metav1.Status`).

use serde_json::{Value, json};

/// All went well.
pub fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

/// A command ended with this exit code.
pub fn exited(code: i32) -> Value {
    match code {
        0 => success(),
        code => failed(
            code,
            &format!("command terminated with non-zero exit code: exit code {code}"),
        ),
    }
}

/// A command failed with this exit code and words of its own.
pub fn failed(code: i32, message: &str) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message,
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

/// It went wrong here.
pub fn internal(message: &str) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": message,
    })
}
