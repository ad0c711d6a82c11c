# Prints as JSON what the Vagrantfile asks of a provider (`ruby machines.rb lxc`), as Vagrant itself reads it: by machine,
# its name, box, interfaces, memory and cores. The provider need not be installed. EMOSTREAM_INVENTORY names the inventory.

require "json"
require "vagrant"

environment = Vagrant::Environment.new(cwd: File.expand_path("../..", __dir__))
provider = ARGV.fetch(0).to_sym

machines = environment.machine_names.to_h do |name|
  # Neither a box nor a usable provider is needed to read what is asked of it.
  config = environment.vagrantfile.machine_config(name, provider, nil, nil, false).fetch(:config)
  asked = config.vm.get_provider_config(provider)
  networks = config.vm.networks.filter_map { |kind, options| options[:ip] if kind == :private_network }
  [name, {
    hostname: config.vm.hostname,
    box: config.vm.box,
    has_own_key: config.ssh.insert_key,
    private_networks: networks,
    # The first two are libvirt's, the last is the other providers'.
    memory_mib: asked.instance_variable_get(:@memory),
    cores: asked.instance_variable_get(:@cpus),
    customizations: asked.instance_variable_get(:@customizations) || []
  }]
end
puts JSON.generate(machines)
