//! The calls that make a recommendation an endpoint of SageMaker, in Python with boto3.

use assay_measure::environment::{MODEL_SERVER_WORKERS, TORCHSERVE_WORKERS, check_name};

use super::{NoSnippet, PORT, Recommended, command_line, quote, variables};

/// A Python program. What only the user knows (the image, where the model lies, the role) stands at its top.
///
/// # Errors
/// [`NoSnippet`] for an endpoint, for a type that was measured with no configuration, and for a type that SageMaker
/// does not have.
pub fn boto3(recommended: Recommended<'_>) -> Result<String, NoSnippet> {
    let configuration = recommended.configuration()?;
    let instance_type = &recommended.entry.instance_type;
    if !instance_type.as_str().starts_with("ml.") {
        return Err(NoSnippet::NotOnSageMaker { instance_type: instance_type.clone() });
    }
    let asked = &configuration.environment;
    let settings = variables(configuration);
    // Two names for the workers agree; the one that was asked for is enough.
    let is_said = |name: &str| {
        asked.contains_key(name)
            || (name == MODEL_SERVER_WORKERS && asked.contains_key(TORCHSERVE_WORKERS))
    };
    let added = settings.iter().filter(|(name, _)| !is_said(name));
    let environment: String = asked
        .iter()
        .filter(|(name, _)| check_name(name).is_ok())
        .map(|(name, value)| (name.as_str(), value))
        .chain(added.map(|(name, value)| (*name, value)))
        .map(|(name, value)| {
            format!("            {}: {},\n", quote::string(name), quote::string(value))
        })
        .collect();
    let flags = command_line::flags(configuration, configuration.device, recommended.inputs);
    let flags: String =
        flags.iter().map(|(flag, value)| format!("#   {flag} {}\n", quote::shell(value))).collect();
    let name = quote::string(&quote::resource_name(recommended.model));
    let archive = quote::string(&format!("s3://BUCKET/{}", archive_name(recommended.model)));
    Ok(format!(
        r#"import boto3

name = {name}
image = "ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG"  # assay-host, serving the file in /opt/ml/model on 0.0.0.0:{PORT}
model_data = {archive}  # the model as model.tar.gz
role = "arn:aws:iam::ACCOUNT:role/ROLE"

# It was measured with these flags of `assay-host serve`, which takes no settings from variables:
# the image's entry point has to pass on those below.
{flags}
sagemaker = boto3.client("sagemaker")
sagemaker.create_model(
    ModelName=name,
    ExecutionRoleArn=role,
    PrimaryContainer={{
        "Image": image,
        "ModelDataUrl": model_data,
        "Environment": {{
{environment}        }},
    }},
)
sagemaker.create_endpoint_config(
    EndpointConfigName=name,
    ProductionVariants=[
        {{
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": {instance_type},
            "InitialInstanceCount": {count},
        }}
    ],
)
sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
"#,
        instance_type = quote::string(instance_type.as_str()),
        count = recommended.instance_count(),
    ))
}

/// SageMaker takes archives only.
fn archive_name(model: &str) -> String {
    let name = quote::file_name(model);
    if name.ends_with(".tar.gz") {
        return name.to_owned();
    }
    format!("{}.tar.gz", quote::resource_name(model))
}
