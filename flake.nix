{
  # Evaluated over a stand-in for nixpkgs, never built. See docs/containers.md.
  description = "Palimpsest: an editor language server that fills holes in code by diffusion, locally";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      forAll = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});

      # Wheels from the package index, PyTorch among them, look for these libraries on Linux.
      libraries =
        pkgs:
        pkgs.lib.optionals pkgs.stdenv.hostPlatform.isLinux [
          pkgs.stdenv.cc.cc.lib
          pkgs.zlib
        ];

      # nixpkgs lacks several of our libraries in the versions that we need, so uv installs those that we test with.
      # That happens when the command first runs, into the user's cache, and needs the network then.
      palimpsest =
        pkgs:
        pkgs.writeShellApplication {
          name = "palimpsest";
          runtimeInputs = [
            pkgs.git
            pkgs.uv
          ];
          text = ''
            export LD_LIBRARY_PATH=${pkgs.lib.makeLibraryPath (libraries pkgs)}''${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
            exec uv tool run --python ${pkgs.python312}/bin/python3.12 --constraints ${self}/constraints/newest.txt \
              --from 'palimpsest-ls[api] @ file://${self}' palimpsest "$@"
          '';
        };
    in
    {
      packages = forAll (pkgs: {
        default = palimpsest pkgs;
      });

      apps = forAll (pkgs: {
        default = {
          type = "app";
          program = "${palimpsest pkgs}/bin/palimpsest";
        };
      });

      # `nix develop`, then `make test`.
      devShells = forAll (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.git
            pkgs.gnumake
            pkgs.nodejs_24
            pkgs.python312
          ];
          LD_LIBRARY_PATH = pkgs.lib.makeLibraryPath (libraries pkgs);
        };
      });

      formatter = forAll (pkgs: pkgs.nixfmt-tree);
    };
}
