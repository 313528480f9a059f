//! A recommendation as a Deployment for Kubernetes.

use assay_measure::configuration::{Configuration, Device};

use super::{NoSnippet, PORT, Recommended, command_line, quote};

/// A manifest in YAML: one pod for each instance, on nodes of the type where it is one of EC2. The image, which holds
/// `assay-host` and the model in `/models`, is the user's.
///
/// Requests equal limits, so that a pod is *Guaranteed* and nothing shares its processors; they are left out where
/// processors and memory of the type are not known.
///
/// # Errors
/// [`NoSnippet`] for an endpoint, and for a type that was measured with no configuration.
pub fn kubernetes(recommended: Recommended<'_>) -> Result<String, NoSnippet> {
    let configuration = recommended.configuration()?;
    let name = quote::resource_name(recommended.model);
    let node_selector = recommended.ec2_type().map_or_else(String::new, |ec2_type| {
        format!(
            "      nodeSelector:\n        node.kubernetes.io/instance-type: {}\n",
            quote::string(ec2_type)
        )
    });
    let variables: String = command_line::process_variables(configuration)
        .iter()
        .map(|(name, value)| {
            let (name, value) = (quote::string(name), quote::kubernetes(value));
            format!("            - name: {name}\n              value: {value}\n")
        })
        .collect();
    Ok(format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
{node_selector}      containers:
        - name: assay-host
          image: REGISTRY/IMAGE:TAG # with assay-host, and the model in /models
          command: ["assay-host"]
          args:
{arguments}          env:
{variables}          ports:
            - containerPort: {PORT}
          readinessProbe:
            httpGet:
              path: /ping
              port: {PORT}
{resources}"#,
        replicas = recommended.instance_count(),
        arguments = arguments(recommended, configuration),
        resources = resources(recommended, configuration),
        // Plain letters, digits and hyphens could still be read as something else than a string.
        name = quote::string(&name),
    ))
}

fn arguments(recommended: Recommended<'_>, configuration: &Configuration) -> String {
    let model = format!("/models/{}", quote::file_name(recommended.model));
    // A pod sees the GPUs that it was given, numbered from 0.
    let device = match configuration.device {
        Device::Cpu => Device::Cpu,
        Device::Cuda(_) => Device::Cuda(0),
    };
    let flags = command_line::flags(configuration, device, recommended.inputs);
    let listen = ("--listen", format!("0.0.0.0:{PORT}"));
    let flags = std::iter::once(listen).chain(flags);
    let flags = flags.flat_map(|(flag, value)| [flag.to_owned(), value]);
    ["serve".to_owned(), model]
        .into_iter()
        .chain(flags)
        .map(|argument| format!("            - {}\n", quote::kubernetes(&argument)))
        .collect()
}

fn resources(recommended: Recommended<'_>, configuration: &Configuration) -> String {
    let mut amounts = Vec::new();
    if let Some(shape) = recommended.shape() {
        amounts.push(format!("cpu: {}", shape.vcpus));
        amounts.push(format!("memory: {}Mi", shape.memory_bytes.count() >> 20));
    }
    match configuration.device {
        Device::Cpu => {}
        Device::Cuda(_) => amounts.push("nvidia.com/gpu: 1".to_owned()),
    }
    if amounts.is_empty() {
        return String::new();
    }
    let lines = |indent: &str| -> String {
        amounts.iter().map(|amount| format!("{indent}{amount}\n")).collect()
    };
    let amounts = lines("              ");
    let note = recommended.shape().map_or("", |_| {
        "          # All of the instance. A node keeps some for itself: take both down to what it can allocate\n\
         \x20         # (kubectl describe node), or the pod stays pending.\n"
    });
    format!(
        "{note}          resources:\n            requests:\n{amounts}            limits:\n{amounts}"
    )
}
