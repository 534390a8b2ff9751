{
  # Stands in for nixpkgs, so that our flake is evaluated without the network. It has the names that ours uses, and builds
  # nothing: a package is a derivation that nobody realises. That nixpkgs has these names, too, is not shown by it.
  outputs =
    { self }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      lib = {
        genAttrs =
          names: make:
          builtins.listToAttrs (
            map (name: {
              inherit name;
              value = make name;
            }) names
          );
        optionals = wanted: list: if wanted then list else [ ];
        makeLibraryPath = packages: builtins.concatStringsSep ":" (map (package: "${package}/lib") packages);
      };
      packagesOf =
        system:
        let
          package =
            name:
            builtins.derivation {
              inherit name system;
              builder = "/bin/sh";
            };
        in
        {
          inherit lib;
          stdenv = {
            hostPlatform.isLinux = builtins.match ".*-linux" system != null;
            cc.cc.lib = package "gcc-lib";
          };
          writeShellApplication =
            {
              name,
              runtimeInputs,
              text,
            }:
            package name // { inherit runtimeInputs text; };
          mkShell = attributes: builtins.derivation ({ name = "shell"; inherit system; builder = "/bin/sh"; } // attributes);
        }
        // builtins.listToAttrs (
          map
            (name: {
              inherit name;
              value = package name;
            })
            [
              "git"
              "gnumake"
              "nixfmt-tree"
              "nodejs_24"
              "python312"
              "uv"
              "zlib"
            ]
        );
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs systems packagesOf;
    };
}
