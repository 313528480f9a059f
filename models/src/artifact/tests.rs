use std::{fs, io::Write};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::torch;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn written(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn open(path: &Path) -> Result<Artifact, ArtifactError> {
    Artifact::open(path, units::Bytes::mib(1))
}

fn zipped(names: &[&str]) -> Vec<u8> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    for name in names {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(b"content").unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn torchscript() -> Vec<u8> {
    zipped(&["net/data.pkl", "net/code/__torch__.py", "net/constants.pkl", "net/version"])
}

/// Entries as (path, type, content); the path is written as given, `..` and all.
fn tar_gz(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn refused_bundle(entries: &[(&str, EntryType, &[u8])]) -> ArtifactError {
    let folder = folder();
    open(&written(&folder, "model.tar.gz", &tar_gz(entries))).unwrap_err()
}

#[test]
fn a_torchscript_file_is_taken_and_hashed() {
    let folder = folder();
    let path = written(&folder, "net.pt", &torchscript());
    let artifact = open(&path).unwrap();
    assert_eq!(artifact.model_path, path);
    assert_eq!(artifact.size_bytes, torchscript().len() as u64);
    assert_eq!(artifact.sha256, hex::encode(Sha256::digest(torchscript())));
    assert_eq!(artifact.stem(), "net");
}

#[test]
fn a_missing_file_is_named() {
    let error = open(Path::new("/nowhere/net.pt")).unwrap_err();
    assert!(
        matches!(&error, ArtifactError::Missing(path) if path == Path::new("/nowhere/net.pt")),
        "{error}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn an_empty_file_and_a_folder_are_refused() {
    let folder = folder();
    assert!(matches!(open(&written(&folder, "net.pt", b"")).unwrap_err(), ArtifactError::Empty(_)));
    assert!(matches!(open(folder.path()).unwrap_err(), ArtifactError::NotAFile(_)));
}

#[test]
fn an_unreadable_path_says_why() {
    let folder = folder();
    let file = written(&folder, "net.pt", b"x");
    let error = open(&file.join("below")).unwrap_err();
    assert!(matches!(error, ArtifactError::Unreadable { .. }), "{error}");
}

#[test]
fn a_truncated_file_is_told_from_a_foreign_one() {
    let folder = folder();
    let whole = torchscript();
    for length in [3, 100, whole.len() / 2, whole.len() - 1] {
        let error = open(&written(&folder, "net.pt", &whole[..length])).unwrap_err();
        assert!(matches!(error, ArtifactError::Truncated { .. }), "{length}: {error}");
    }
}

#[test]
fn a_state_dict_is_recognized_and_the_hint_says_how_to_save() {
    let folder = folder();
    let state_dict = zipped(&["archive/data.pkl", "archive/data/0", "archive/version"]);
    let error = open(&written(&folder, "net.pt", &state_dict)).unwrap_err();
    assert!(error.to_string().contains("state_dict"), "{error}");
    assert!(error.hint().unwrap().contains("torch.jit.script"));
}

#[test]
fn files_of_other_kinds_are_named_for_what_they_are() {
    let folder = folder();
    let said = |content: &[u8]| open(&written(&folder, "net.pt", content)).unwrap_err().to_string();
    assert!(said(b"\x80\x02}q\x00.").contains("pickle"));
    assert!(said(b"import torch\n").contains("text file"));
    assert!(said(&[0, 1, 2, 3, 4, 5]).contains("neither"));
    assert!(said(&zipped(&["a.npy"])).contains(".npz"));
    assert!(said(&zipped(&["readme/x"])).contains("without code/"));
    assert!(said(&zipped(&["net/archive_format"])).contains("torch.export"));
}

#[test]
fn the_one_model_of_a_bundle_is_unpacked_and_removed_again() {
    let model = torchscript();
    for name in ["model.pt", "./other.pth"] {
        let folder = folder();
        let bundle = tar_gz(&[
            ("code/", EntryType::Directory, b""),
            ("code/inference.py", EntryType::Regular, b"pass"),
            ("code/other.pt", EntryType::Regular, b"not the model"),
            ("._model.pt", EntryType::Regular, b"macOS"),
            (name, EntryType::Regular, &model),
        ]);
        let artifact = open(&written(&folder, "model.tar.gz", &bundle)).unwrap();
        assert_eq!(fs::read(&artifact.model_path).unwrap(), model);
        assert_eq!(artifact.sha256, hex::encode(Sha256::digest(&bundle)));
        assert_eq!(artifact.stem(), "model");
        let unpacked = artifact.model_path.clone();
        drop(artifact);
        assert!(!unpacked.exists());
    }
}

#[test]
fn a_bundle_without_a_model_is_refused() {
    let error = refused_bundle(&[("readme.txt", EntryType::Regular, b"hello")]);
    assert!(matches!(error, ArtifactError::NoModel { .. }), "{error}");
    assert!(error.to_string().ends_with("at its root"), "{error}");
}

#[test]
fn model_pt_is_the_model_whatever_lies_beside_it() {
    let model = torchscript();
    for others in [["optimizer.pt", "model.pth"], ["./a.pt", "z.pt"]] {
        let folder = folder();
        let bundle = tar_gz(&[
            (others[0], EntryType::Regular, b"a state dict"),
            ("checkpoints/model.pt", EntryType::Regular, b"a checkpoint"),
            ("./model.pt", EntryType::Regular, &model),
            (others[1], EntryType::Regular, b"another"),
        ]);
        let artifact = open(&written(&folder, "model.tar.gz", &bundle)).unwrap();
        assert_eq!(fs::read(&artifact.model_path).unwrap(), model, "{others:?}");
    }
}

#[test]
fn files_in_folders_do_not_count_beside_one_at_the_root() {
    let model = torchscript();
    let folder = folder();
    let bundle = tar_gz(&[
        ("checkpoints/e1.pt", EntryType::Regular, b"a checkpoint"),
        ("net.pth", EntryType::Regular, &model),
        ("code/e2.pt", EntryType::Regular, b"a checkpoint"),
    ]);
    let artifact = open(&written(&folder, "model.tar.gz", &bundle)).unwrap();
    assert_eq!(fs::read(&artifact.model_path).unwrap(), model);
}

#[test]
fn a_bundle_whose_models_lie_in_folders_says_that_folders_are_passed_over() {
    let model = torchscript();
    let error = refused_bundle(&[("./code/model.pt", EntryType::Regular, &model)]);
    assert!(
        error.to_string().ends_with("folders are passed over, and with them ./code/model.pt"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("tar -C FOLDER"), "{error:?}");
}

#[test]
fn a_bundle_with_two_models_at_the_root_is_refused_with_their_names() {
    let model = torchscript();
    let error = refused_bundle(&[
        ("a.pt", EntryType::Regular, &model),
        ("b.pth", EntryType::Regular, &model),
    ]);
    assert!(
        error.to_string().ends_with("more than one model file, and no model.pt: a.pt, b.pth"),
        "{error}"
    );
}

/// As PyTorch's writer ends every file: the end records of both lengths, though the short one would do.
fn as_pytorch_writes(names: &[String]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    let short = |out: &mut Vec<u8>, values: &[u16]| {
        values.iter().for_each(|value| out.extend(value.to_le_bytes()));
    };
    let long = |out: &mut Vec<u8>, value: usize| {
        out.extend(u32::try_from(value).unwrap().to_le_bytes());
    };
    let wide = |out: &mut Vec<u8>, value: usize| out.extend((value as u64).to_le_bytes());
    for name in names {
        let content: &[u8] = if name.ends_with("version") { b"3\n" } else { b"content" };
        let (offset, mut crc) = (file.len(), flate2::Crc::new());
        crc.update(content);
        for (out, magic, ours) in
            [(&mut file, b"PK\x03\x04", &[][..]), (&mut directory, b"PK\x01\x02", &[0][..])]
        {
            out.extend(magic);
            short(out, ours);
            short(out, &[0, 0x800, 0, 0, 0]);
            out.extend(crc.sum().to_le_bytes());
            long(out, content.len());
            long(out, content.len());
            short(out, &[u16::try_from(name.len()).unwrap(), 0]);
        }
        short(&mut directory, &[0, 0, 0, 0, 0]);
        long(&mut directory, offset);
        directory.extend(name.as_bytes());
        file.extend(name.as_bytes());
        file.extend(content);
    }
    let (start, length) = (file.len(), directory.len());
    file.extend(directory);
    let end = file.len();
    file.extend(b"PK\x06\x06");
    wide(&mut file, 44);
    short(&mut file, &[0x31e, 45, 0, 0, 0, 0]);
    [names.len(), names.len(), length, start].iter().for_each(|&value| wide(&mut file, value));
    file.extend(b"PK\x06\x07\0\0\0\0");
    wide(&mut file, end);
    long(&mut file, 1);
    file.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(names.len()).unwrap();
    short(&mut file, &[count, count]);
    long(&mut file, length);
    long(&mut file, start);
    short(&mut file, &[0]);
    file
}

#[test]
fn a_model_may_have_a_name_of_any_length_bare_or_in_an_archive() {
    let folder = folder();
    let source = "def forward(self, x: Tensor) -> Tensor:\n  return x\n";
    let module = torch::Module::define("Net", source, &[]).unwrap();
    for length in 1..=200 {
        let path = folder.path().join(format!("{}.pt", "n".repeat(length)));
        module.save(&path).unwrap();
        let artifact = open(&path).unwrap_or_else(|error| panic!("{length}: {error}"));
        torch::Module::load(&artifact.model_path).unwrap();
        let bundle = tar_gz(&[("model.pt", EntryType::Regular, &fs::read(&path).unwrap())]);
        let artifact = open(&written(&folder, "model.tar.gz", &bundle))
            .unwrap_or_else(|error| panic!("{length}, in an archive: {error}"));
        torch::Module::load(&artifact.model_path).unwrap();
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_file_of_another_kind_is_named_for_what_it_is_whatever_the_length_of_its_name() {
    let folder = folder();
    let said = |names: &[String]| {
        open(&written(&folder, "net.pt", &as_pytorch_writes(names))).unwrap_err().to_string()
    };
    for length in 1..=200 {
        let stem = "n".repeat(length);
        let inside = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| format!("{stem}/{name}")).collect()
        };
        let exported = said(&inside(&["data/weights/weight_0", "archive_format", "version"]));
        assert!(exported.ends_with("it is an exported program (torch.export)"), "{exported}");
        let weights = said(&inside(&["data.pkl", "data/0", "version"]));
        assert!(weights.contains("state_dict"), "{weights}");
    }
}

#[test]
fn what_is_cut_off_a_file_of_pytorch_is_noticed_whatever_the_length_of_its_name() {
    let folder = folder();
    for length in [1, 21, 22, 23, 200] {
        let name = |inside: &str| format!("{}/{inside}", "n".repeat(length));
        let names =
            ["data/0", "data.pkl", "code/net.py", "constants.pkl", "version"].map(name).to_vec();
        let whole = as_pytorch_writes(&names);
        assert!(open(&written(&folder, "net.pt", &whole)).is_ok(), "{length}");
        for kept in (5..whole.len()).step_by(7) {
            let error = open(&written(&folder, "net.pt", &whole[..kept])).unwrap_err();
            assert!(matches!(error, ArtifactError::Truncated { .. }), "{length} {kept}: {error}");
        }
    }
}

#[test]
fn a_bundle_with_a_path_that_leads_out_is_refused() {
    let model = torchscript();
    for path in ["../model.pt", "sub/../../model.pt", "/tmp/model.pt"] {
        let error = refused_bundle(&[(path, EntryType::Regular, &model)]);
        assert!(
            matches!(&error, ArtifactError::UnsafePath { entry, .. } if entry == path),
            "{path}: {error}"
        );
    }
}

#[test]
fn a_bundle_with_links_devices_or_pipes_is_refused() {
    for kind in
        [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Block, EntryType::Fifo]
    {
        let error = refused_bundle(&[("model.pt", kind, b"")]);
        assert!(
            matches!(&error, ArtifactError::UnsafeEntry { entry, .. } if entry == "model.pt"),
            "{kind:?}: {error}"
        );
    }
}

#[test]
fn a_bundle_that_unpacks_to_more_than_allowed_is_refused() {
    let zeros = vec![0; 2 << 20];
    for name in ["model.pt", "other.bin"] {
        let error = refused_bundle(&[(name, EntryType::Regular, &zeros)]);
        assert!(matches!(error, ArtifactError::TooLarge { .. }), "{name}: {error}");
    }
}

#[test]
fn a_truncated_bundle_is_refused_wherever_it_is_cut() {
    let folder = folder();
    let noise: Vec<u8> = (0u32..50_000)
        .map(|i| u8::try_from((i.wrapping_mul(2_654_435_761) >> 24) & 0xff).unwrap())
        .collect();
    let whole = tar_gz(&[
        ("model.pt", EntryType::Regular, &torchscript()),
        ("x.bin", EntryType::Regular, &noise),
    ]);
    for length in [3, 20, whole.len() / 2, whole.len() - 4] {
        let error = open(&written(&folder, "model.tar.gz", &whole[..length])).unwrap_err();
        assert!(matches!(error, ArtifactError::Truncated { .. }), "{length}: {error}");
    }
}

#[test]
fn a_model_inside_a_bundle_is_checked_like_one_outside() {
    let state_dict = zipped(&["archive/data.pkl", "archive/version"]);
    let error = refused_bundle(&[("model.pt", EntryType::Regular, &state_dict)]);
    assert!(error.to_string().starts_with("model.pt in "), "{error}");
    assert!(matches!(error, ArtifactError::NotTorchScript { .. }));
    assert!(matches!(
        refused_bundle(&[("model.pt", EntryType::Regular, b"")]),
        ArtifactError::Empty(_)
    ));
}
