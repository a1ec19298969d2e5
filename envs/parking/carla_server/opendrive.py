"""The lot as an OpenDRIVE map: its aisle as one straight road, so that `carla.Map` can be made."""

from __future__ import annotations

from helmsight.envs.parking.lot import Lot

PROJECTION = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +datum=WGS84"


def opendrive(name: str, lot: Lot) -> str:
    """OpenDRIVE 1.4 of a lot. Its frame is right-handed, as the lot's own."""
    length, lane = 2.0 * lot.half_length, lot.aisle_width / 2.0
    width = f'<width sOffset="0.0" a="{lane}" b="0.0" c="0.0" d="0.0"/>'
    mark = '<roadMark sOffset="0.0" type="none" weight="standard" color="standard" width="0.1"/>'
    return f"""<?xml version="1.0" standalone="yes"?>
<OpenDRIVE>
  <header revMajor="1" revMinor="4" name="{name}" version="1" date="2025-01-01T00:00:00"
    north="{lot.half_width}" south="{-lot.half_width}" east="{lot.half_length}"
    west="{-lot.half_length}" vendor="helmsight">
    <geoReference><![CDATA[{PROJECTION}]]></geoReference>
  </header>
  <road name="aisle" length="{length}" id="1" junction="-1">
    <link/>
    <type s="0.0" type="town"><speed max="5" unit="m/s"/></type>
    <planView>
      <geometry s="0.0" x="{-lot.half_length}" y="0.0" hdg="0.0" length="{length}">
        <line/>
      </geometry>
    </planView>
    <elevationProfile><elevation s="0.0" a="0.0" b="0.0" c="0.0" d="0.0"/></elevationProfile>
    <lateralProfile/>
    <lanes>
      <laneOffset s="0.0" a="0.0" b="0.0" c="0.0" d="0.0"/>
      <laneSection s="0.0">
        <left><lane id="1" type="driving" level="false">{width}{mark}</lane></left>
        <center><lane id="0" type="none" level="false">{mark}</lane></center>
        <right><lane id="-1" type="driving" level="false">{width}{mark}</lane></right>
      </laneSection>
    </lanes>
  </road>
</OpenDRIVE>
"""
