use super::*;

/// As the API's reference shows it, shortened.
const INTERFACE: &str = r#"
<DescribeNetworkInterfacesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>fc45294c</requestId>
  <networkInterfaceSet><item>
    <networkInterfaceId>eni-0f62d866</networkInterfaceId>
    <subnetId>subnet-c53c87ac</subnetId>
    <vpcId>vpc-cc3c87a5</vpcId>
    <macAddress>02:81:60:cb:27:37</macAddress>
    <privateIpAddress>10.0.0.146</privateIpAddress>
    <groupSet><item><groupId>sg-3f4b5653</groupId><groupName>default</groupName></item></groupSet>
    <attachment>
      <attachmentId>eni-attach-6537fc0c</attachmentId>
      <deviceIndex>1</deviceIndex>
      <status>attached</status>
      <deleteOnTermination>true</deleteOnTermination>
    </attachment>
    <tagSet><item><key>sealane.io/instance</key><value>i-1</value></item></tagSet>
    <privateIpAddressesSet>
      <item><privateIpAddress>10.0.0.146</privateIpAddress><primary>true</primary></item>
      <item><privateIpAddress>10.0.0.148</privateIpAddress><primary>false</primary></item>
    </privateIpAddressesSet>
    <ipv4PrefixSet><item><ipv4Prefix>10.0.0.160/28</ipv4Prefix></item></ipv4PrefixSet>
  </item></networkInterfaceSet>
</DescribeNetworkInterfacesResponse>"#;

fn first(text: &str, instance: &str) -> Result<NetworkInterface, String> {
    Answer::read(text, |answer| {
        let item = answer.items("networkInterfaceSet").next();
        interface(&item.ok_or("none")?, "sealane.io/instance", instance)
    })
}

#[test]
fn an_interface_has_its_addresses_and_prefixes_but_not_the_machines_own() {
    let read = first(INTERFACE, "i-1").unwrap();
    let ranges: Vec<String> = read.ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.0.0.148/32", "10.0.0.160/28"]);
    assert_eq!(read.primary.to_string(), "10.0.0.146");
    assert_eq!(read.groups, ["sg-3f4b5653"]);
    assert!(read.ours);
    let attachment = read.attachment.unwrap();
    assert_eq!(
        (attachment.device, attachment.ends_with_instance),
        (1, true)
    );
    assert!(!first(INTERFACE, "i-2").unwrap().ours, "another machine's");
}

#[test]
fn what_is_not_as_in_the_reference_is_named() {
    let without = INTERFACE.replace("macAddress", "mac");
    assert_eq!(
        first(&without, "i-1").unwrap_err(),
        "macAddress is missing in item"
    );
    let wrong = INTERFACE.replace("10.0.0.148", "10.0.0.1488");
    let error = first(&wrong, "i-1").unwrap_err();
    assert_eq!(error, "privateIpAddress is \"10.0.0.1488\"");
    assert!(first("<html>", "i-1").is_err());
}

#[test]
fn a_refusal_has_ec2s_own_words() {
    let text = "<Response><Errors><Error><Code>RequestLimitExceeded</Code>\
                <Message>Request limit exceeded.</Message></Error></Errors></Response>";
    let error = refusal("AssignPrivateIpAddresses", 503, text);
    assert_eq!(error.code(), Some("RequestLimitExceeded"));
    assert_eq!(
        error.to_string(),
        "AssignPrivateIpAddresses: RequestLimitExceeded: Request limit exceeded."
    );
    let proxy = refusal("AssignPrivateIpAddresses", 502, "<html>Bad gateway</html>");
    assert_eq!(proxy.code(), Some("HTTP 502"));
}

#[test]
fn a_vpc_has_all_its_ranges() {
    let text = "<DescribeVpcsResponse><vpcSet><item><cidrBlock>10.0.0.0/16</cidrBlock>\
                <cidrBlockAssociationSet>\
                <item><cidrBlock>10.0.0.0/16</cidrBlock></item>\
                <item><cidrBlock>100.64.0.0/16</cidrBlock><cidrBlockState><state>associated</state></cidrBlockState></item>\
                <item><cidrBlock>10.1.0.0/16</cidrBlock><cidrBlockState><state>disassociated</state></cidrBlockState></item>\
                </cidrBlockAssociationSet></item></vpcSet></DescribeVpcsResponse>";
    let ranges = Answer::read(text, vpc_ranges).unwrap();
    let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.0.0.0/16", "100.64.0.0/16"]);
}
